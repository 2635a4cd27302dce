import type { PeerId, PeerRecord, RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type {
  DesiredPeer,
  DesiredState,
  InboundService,
  OutboundService,
  SteeringRoute
} from '../../dataplane/desired.ts'
import { once } from '../../once.ts'
import { multiaddrHostPort } from './multiaddr.ts'
import { specIn } from './spec.ts'
import { byId } from '../../order.ts'

/**
 * What this host's data plane should do, from the view and nothing else: the same view gives the same state, in the
 * same order, on every call. A service whose other end is not described yet (or not a member any more) stays in: its
 * packets are then refused, not sent somewhere else in the clear.
 */
export function desiredFor(self: PeerId, view: View): DesiredState {
  if (!view.members.has(self)) return { self, peers: [], outbound: [], inbound: [], endpoints: [] }
  const services = [...view.services.values()].sort(byId)
  const outbound = services
    .filter((service) => service.source_peer_id === self)
    .map((service) => sourceSide(view, service))
  const inbound = services
    .filter((service) => service.target_peer_id === self)
    .map((service) => targetSide(view, service))
  const remote = new Set([...outbound.map((s) => s.targetPeer), ...inbound.map((s) => s.sourcePeer)])
  return {
    self,
    peers: [...remote].sort().flatMap((id) => peerSide(view, id)),
    outbound,
    inbound,
    endpoints: endpointsOf(view)
  }
}

export const sourceSide = (view: View, service: ServiceRecord): OutboundService => ({
  id: service.id,
  spec: specIn(view, service),
  targetPeer: service.target_peer_id,
  transport: service.transport_type,
  bandwidthLimitMbps: service.bandwidth_limit_mbps,
  fullyTransparent: service.fully_transparent,
  interface: service.requires_interface
    ? { ipv4Cidr: service.desired_ipv4_cidr, ipv6Cidr: service.desired_ipv6_cidr }
    : null,
  routes: steering(view, service)
})

export const targetSide = (view: View, service: ServiceRecord): InboundService => ({
  id: service.id,
  spec: specIn(view, service),
  sourcePeer: service.source_peer_id,
  transport: service.transport_type,
  bandwidthLimitMbps: service.bandwidth_limit_mbps,
  fullyTransparent: service.fully_transparent,
  routes: steering(view, service)
})

const steering = (view: View, service: ServiceRecord): SteeringRoute[] =>
  [...(view.routesOf.get(service.id) ?? [])].sort(byId).map(steeringRoute)

/** The same object for the same record: all that is worked out of a route is kept by it ({@link once}). */
const steeringRoute = once((route: RouteRecord): SteeringRoute => ({
  id: route.id,
  serviceId: route.service_id,
  sourceCidr: route.source_cidr,
  destCidr: route.dest_cidr,
  priority: route.priority
}))

export function peerSide(view: View, id: PeerId): DesiredPeer[] {
  const record = view.members.get(id)?.record
  if (record == null) return []
  return [
    {
      id,
      dataAddresses: [...record.data_addresses],
      pegasusKey: record.pegasus_key,
      tempestKey: record.tempest_key,
      ...(record.keys_before == null
        ? {}
        : { keysBefore: { pegasus: record.keys_before[0]!, tempest: record.keys_before[1]! } })
    }
  ]
}

/** Mesh and data endpoints of every member, this host too: a route must never swallow the mesh itself. */
export function endpointsOf(view: View): string[] {
  const endpoints = new Set<string>()
  for (const { record } of view.members.values()) {
    if (record != null) for (const endpoint of endpointsIn(record)) endpoints.add(endpoint)
  }
  return [...endpoints].sort()
}

/** By record, which is the same object as long as it says the same. */
const endpointsIn = once((record: PeerRecord): readonly string[] => [
  ...record.data_addresses,
  ...record.mesh_addresses.flatMap((one) => multiaddrHostPort(one) ?? [])
])

/**
 * Equal for two states that program the same: ids and specs stand for the services, so that comparing 10,000 of them
 * costs less than looking at each.
 */
export const desiredDigest = (desired: DesiredState): string =>
  [
    ...desired.peers.map((peer) => `${peer.id} ${peer.dataAddresses.join()} ${peer.pegasusKey} ${peer.tempestKey}`),
    ...desired.outbound.map((service) => `>${service.id} ${service.spec}`),
    ...desired.inbound.map((service) => `<${service.id} ${service.spec}`),
    ...desired.endpoints
  ].join('\n')
