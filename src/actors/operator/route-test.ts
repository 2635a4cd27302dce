import type { Origin } from '../../crdt/origin.ts'
import type { RouteId, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { interfaceNameLengthMax } from '../../dataplane/limits.ts'
import { compile, parsePacket, type RoutedService } from '../../dataplane/route-table.ts'
import type { OutboundService } from '../../dataplane/desired.ts'
import { InvalidRequestError } from '../../errors.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { hostNetworks } from './host-networks.ts'
import type { RouteTestJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'

export interface RouteTestInput {
  source: string
  dest: string
  protocol?: string
  interface?: string
  trace?: boolean
}

/** What a packet is tried against: the cluster as it is, or as it was. */
export interface RouteTestScene {
  view: View
  /** Services that start at this host. */
  outbound: readonly OutboundService[]
  /** The device that a program here sends by when it sends from this address; null for none of ours. */
  deviceOf: (source: string) => string | null
  originOf: (kind: 'routes', id: RouteId) => Origin | null
}

/** Which service, route, handler and peer would carry a packet that enters this host, and why. */
export async function testRoute(deps: OperatorDeps, input: RouteTestInput): Promise<RouteTestJson> {
  const view = clusterView(deps)
  deps.reconciler.flush()
  return testRouteIn(deps, input, {
    view,
    outbound: deps.reconciler.desired?.outbound ?? [],
    deviceOf: (source) => deviceOf(deps, source),
    originOf: (kind, id) => deps.replica.originOf(kind, id)
  })
}

/** The same in any scene; networks attached to this host are those of now. */
export function testRouteIn(
  { dataplane }: Pick<OperatorDeps, 'dataplane'>,
  input: RouteTestInput,
  { view, outbound, deviceOf, originOf }: RouteTestScene
): RouteTestJson {
  const packet = parsePacket({
    interface: input.interface ?? deviceOf(input.source),
    source: input.source,
    dest: input.dest
  })
  if (packet == null) {
    throw new InvalidRequestError(
      `source "${input.source}" and dest "${input.dest}" must be two IP addresses of one family, without prefix`
    )
  }
  const handler = handlerOf(input.protocol ?? 'tcp')
  const table = compile(outbound.map(routed), dataplane.host?.() ?? hostNetworks())
  const { winner, reason, candidates } = table.explain(packet)
  const service = winner == null ? undefined : view.services.get(winner.serviceId)
  const origin = winner == null || input.trace !== true ? null : originOf('routes', winner.id)
  const answer: RouteTestJson = {
    service_id: winner?.serviceId ?? null,
    route_id: winner?.id ?? null,
    target_peer_id: service?.target_peer_id ?? null,
    handler: winner == null ? 'none' : handler,
    reason
  }
  if (input.trace !== true) return answer
  return {
    ...answer,
    change: origin == null ? null : { ...origin, author_name: nameOfPeer(origin.author, view) },
    candidates: candidates.map(({ serviceId, routeId, won, rule, reason: why }) => ({
      service_id: serviceId,
      route_id: routeId,
      won,
      rule,
      reason: why
    }))
  }
}

/** What a program here sends from the address of a service's device counts as sent by that device. */
function deviceOf({ reconciler }: OperatorDeps, source: string): string | null {
  for (const { role, interface: made } of reconciler.reports.all()) {
    if (role !== 'source' || made == null) continue
    if ([made.ipv4, made.ipv6].some((cidr) => cidr?.split('/')[0] === source)) return made.name
  }
  return null
}

const PROTOCOLS: Record<string, number> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 }

function handlerOf(protocol: string): 'pegasus' | 'tempest' {
  const number = PROTOCOLS[protocol.toLowerCase()] ?? (/^\d{1,3}$/.test(protocol) ? Number(protocol) : NaN)
  if (!(number <= 255)) {
    throw new InvalidRequestError(`protocol "${protocol}" is unknown; use tcp, udp, icmp or a number from 0 to 255`)
  }
  return number === PROTOCOLS.tcp ? 'pegasus' : 'tempest'
}

const routed = ({ id, interface: device, routes }: OutboundService): RoutedService => ({
  id,
  device: device == null ? null : deviceName(id),
  routes
})

/** Of a service with an interface. */
export const deviceName = (service: ServiceId): string => service.slice(0, interfaceNameLengthMax).toLowerCase()
