import type { PastServiceJson, PeerJson, ServiceJson } from '../../../actors/operator/operator.ts'
import { age, bytes, orDash, shortPeer, state, yesNo } from '../humane.ts'
import { type Cell, record, table, type TableOptions } from '../table.ts'

const COLUMNS = ['ID', 'NAME', 'SOURCE', 'TARGET', 'TRANSPORT', 'PHASE', 'FLOWS', 'IN', 'OUT', 'AGE']
const WIDE_COLUMNS = ['LIMIT', 'INTERFACE', 'TRANSPARENT', 'UPDATED', 'REASON']

export function servicesText(
  services: ReadonlyArray<ServiceJson | PastServiceJson>,
  peers: readonly PeerJson[],
  now: number,
  { wide, colours }: TableOptions
): string {
  const names = new Map(peers.map(({ id, name }) => [id, name]))
  const peer = (id: string): string => names.get(id) ?? shortPeer(id)
  return table(
    wide ? [...COLUMNS, ...WIDE_COLUMNS] : COLUMNS,
    services.map((service): Cell[] => [
      service.id,
      service.name,
      peer(service.source_peer_id),
      peer(service.target_peer_id),
      transport(service),
      ...figures(service),
      age(service.created_at, now),
      ...(wide ? wideCells(service, now) : [])
    ]),
    colours
  )
}

/** Nobody has written down what was in force, so the past has none of it. */
const figures = ({ status }: ServiceJson | PastServiceJson): Cell[] =>
  status == null
    ? ['-', '-', '-', '-']
    : [state(status.phase), String(status.flows), bytes(status.bytes_in), bytes(status.bytes_out)]

/** What matters next: limits, the device, and why it is not active. */
function wideCells(service: ServiceJson | PastServiceJson, now: number): Cell[] {
  const { status } = service
  return [
    service.bandwidth_limit_mbps === 0 ? '-' : `${service.bandwidth_limit_mbps} Mbit/s`,
    status == null
      ? yesNo(service.requires_interface)
      : orDash(status.interface?.name ?? (service.requires_interface ? 'missing' : null)),
    yesNo(service.fully_transparent),
    age(service.updated_at, now),
    orDash(
      (status?.conditions ?? [])
        .filter((condition) => !condition.status)
        .map(({ reason }) => reason)
        .join(',')
    )
  ]
}

export function serviceText(
  service: ServiceJson | PastServiceJson,
  now: number,
  colours: boolean,
  etag?: string
): string {
  const { status } = service
  const device = status?.interface
  const head = record(
    [
      ['id', service.id],
      ['name', service.name],
      ...(etag == null ? [] : ([['etag', etag]] as const)),
      ['source peer', service.source_peer_id],
      ['target peer', service.target_peer_id],
      ['transport', transport(service)],
      ['bandwidth limit', service.bandwidth_limit_mbps === 0 ? 'none' : `${service.bandwidth_limit_mbps} Mbit/s`],
      ['fully transparent', yesNo(service.fully_transparent)],
      ['own interface', yesNo(service.requires_interface)],
      ['desired addresses', orDash([service.desired_ipv4_cidr, service.desired_ipv6_cidr].filter(Boolean).join(' '))],
      [
        'interface',
        device == null
          ? '-'
          : [device.name, device.mac, device.ipv4, device.ipv6].filter((part) => part != null).join(' ')
      ],
      ['created', `${age(service.created_at, now)} ago`],
      ['updated', `${age(service.updated_at, now)} ago`],
      ...(status == null
        ? []
        : ([
            ['phase', state(status.phase)],
            ['flows', String(status.flows)],
            ['bytes in, out', `${bytes(status.bytes_in)}, ${bytes(status.bytes_out)}`]
          ] as const))
    ],
    colours
  )
  if (status == null || status.conditions.length === 0) return head
  const conditions = table(
    ['CONDITION', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'],
    status.conditions.map((condition) => [
      condition.type,
      yesNo(condition.status),
      condition.reason,
      `${age(condition.since, now)} ago`,
      condition.message
    ]),
    colours
  )
  return `${head}\n${conditions}`
}

/** What was asked for, and what is in force where that differs. */
function transport({ transport_type: asked, status }: ServiceJson | PastServiceJson): string {
  const effective = status?.effective_transport
  return effective == null || effective === asked ? asked : `${asked} (runs over ${effective})`
}
