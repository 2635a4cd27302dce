import type { RouteId } from '../../crdt/schema.ts'
import { interfaceNameLengthMax } from '../../dataplane/limits.ts'
import { compile, parsePacket, type RouteTable } from '../../dataplane/route-table.ts'
import type { DesiredState } from '../../dataplane/desired.ts'
import { InvalidRequestError } from '../../errors.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { hostNetworks } from './host-networks.ts'
import type { RouteTestJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'

/** Which service, route, handler and peer would carry a packet that enters this host, and why. */
export async function testRoute(
  deps: OperatorDeps,
  input: { source: string; dest: string; protocol?: string; interface?: string; trace?: boolean }
): Promise<RouteTestJson> {
  clusterView(deps)
  const packet = parsePacket({
    interface: input.interface ?? deviceOf(deps, input.source),
    source: input.source,
    dest: input.dest
  })
  if (packet == null) {
    throw new InvalidRequestError(
      `source "${input.source}" and dest "${input.dest}" must be two IP addresses of one family, without prefix`
    )
  }
  const handler = handlerOf(input.protocol ?? 'tcp')
  deps.reconciler.flush()
  const { winner, reason, candidates } = tableOf(deps).explain(packet)
  const service = winner == null ? undefined : deps.replica.view().services.get(winner.serviceId)
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
    change: winner == null ? null : origin(deps, winner.id),
    candidates: candidates.map(({ serviceId, routeId, won, rule, reason: why }) => ({
      service_id: serviceId,
      route_id: routeId,
      won,
      rule,
      reason: why
    }))
  }
}

/** Who put a route where it is. */
function origin({ replica }: OperatorDeps, route: RouteId): RouteTestJson['change'] {
  const found = replica.originOf('routes', route)
  return found == null ? null : { ...found, author_name: nameOfPeer(found.author, replica.view()) }
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

function tableOf({ reconciler, dataplane }: OperatorDeps): RouteTable {
  const desired: DesiredState | null = reconciler.desired
  const services = (desired?.outbound ?? []).map(({ id, interface: device, routes }) => ({
    id,
    device: device == null ? null : id.slice(0, interfaceNameLengthMax).toLowerCase(),
    routes
  }))
  return compile(services, dataplane.host?.() ?? hostNetworks())
}
