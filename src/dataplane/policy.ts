import { createHash } from 'node:crypto'
import type { IpRoute, IpRule } from './ip.ts'
import { hex, type Marks } from './marks.ts'

/**
 * Policy routing by mark, as text lines that are both identity and command: what `ip rule add` or `ip route add` is given.
 * A tunnel's table ends in `unreachable`, so that a packet whose device is gone is refused rather than sent in the clear.
 */
export interface PolicyTunnel {
  index: number
  /** Null while the device cannot be made: what is meant for the tunnel is refused. */
  device: string | null
}

/** Greatest metric there is: only asked when nothing else is left. */
const LAST_METRIC = 4294967295

/** Priority of a rule that is asked once the main table (32766) has nothing. */
const AFTER_MAIN = 32768

/** `devices` are those of services: a program bound to one sends by it or not at all, so the way in stands there too. */
export function wantedRoutes(
  marks: Marks,
  tunnels: readonly PolicyTunnel[],
  devices: readonly string[] = []
): string[] {
  return [
    ...['lo', ...devices].map((device) => routeLine('local', device, marks.tproxyTable, marks)),
    ...tunnels.flatMap(({ index, device }) => [
      ...(device == null ? [] : [routeLine('unicast', device, marks.tunnelTable(index), marks)]),
      routeLine('unreachable', null, marks.tunnelTable(index), marks)
    ])
  ]
}

export function wantedRules(marks: Marks, tunnels: readonly PolicyTunnel[]): string[] {
  return [
    ruleLine(marks.tproxy, marks.tproxyTable, marks),
    ...tunnels.map(({ index }) => ruleLine(marks.tunnel(index), marks.tunnelTable(index), marks))
  ]
}

/**
 * Where a program bound to a service's device is sent when no route leads out by that device. IPv6 refuses it then, before any
 * rule of nftables has seen it; IPv4 takes everything to be on the link.
 */
export const wantedDeviceRules = (marks: Marks, devices: readonly string[]): string[] =>
  devices.map((device) => deviceRuleLine(device, marks.tproxyTable, AFTER_MAIN, marks))

/** The lines of what is in the kernel under our protocol number. */
export function actualRoutes(routes: readonly IpRoute[], marks: Marks): string[] {
  return routes.map(({ type, dev, table }) => {
    const kind = ROUTE_TYPES[type ?? '1'] ?? 'unicast'
    return routeLine(kind, kind === 'unreachable' ? null : (dev ?? null), Number(table), marks)
  })
}

export function actualRules(rules: readonly IpRule[], marks: Marks): string[] {
  return rules
    .filter(({ protocol }) => Number(protocol) === marks.protocol)
    .map(({ fwmark, fwmask, oif, table, priority }) =>
      oif != null
        ? deviceRuleLine(oif, Number(table), priority, marks)
        : ruleLine(Number(fwmark ?? 0), Number(table), {
            ...marks,
            mask: fwmask == null ? 0xffffffff : Number(fwmask),
            rulePriority: priority
          })
    )
}

/** `ip -N` prints route types as numbers. */
const ROUTE_TYPES: Record<string, string> = { 1: 'unicast', 2: 'local', 7: 'unreachable' }

function routeLine(type: string, device: string | null, table: number, { protocol }: Marks): string {
  const dev = device == null ? '' : ` dev ${device}`
  const metric = type === 'unreachable' ? LAST_METRIC : type === 'local' && device !== 'lo' ? ownMetric(device) : null
  return `${type} default${dev} table ${table}${metric == null ? '' : ` metric ${metric}`} proto ${protocol}`
}

/** Default routes of one table differ in their metric; one that follows from the name is the same after a restart. */
const ownMetric = (device: string | null): number =>
  2 ** 16 +
  (createHash('sha256')
    .update(device ?? '')
    .digest()
    .readUInt32BE() >>>
    1)

const ruleLine = (mark: number, table: number, { mask, rulePriority, protocol }: Marks): string =>
  `fwmark ${hex(mark)}/${hex(mask)} lookup ${table} priority ${rulePriority} protocol ${protocol}`

const deviceRuleLine = (device: string, table: number, priority: number, { protocol }: Marks): string =>
  `oif ${device} lookup ${table} priority ${priority} protocol ${protocol}`

/** Lines in one list and not in the other, each as often as it is there too many. */
export function without(lines: readonly string[], other: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const line of other) left.set(line, (left.get(line) ?? 0) + 1)
  return lines.filter((line) => {
    const n = left.get(line) ?? 0
    left.set(line, n - 1)
    return n <= 0
  })
}
