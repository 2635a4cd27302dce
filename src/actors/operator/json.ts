import { isoTime } from '../../clock.ts'
import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { DepartedMember, Member, View } from '../../crdt/view.ts'
import type { TunnelCounters } from '../../dataplane/desired.ts'
import type { PeerPresence, ServiceReport } from '../../mesh/mesh.ts'
import type { ServiceStatus } from '../reconcile/status-book.ts'
import type { DepartureJson, PeerJson, RouteJson, ServiceJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'

/** A service as the contract shows it. The figures are the source's where it reports: that is what the clients saw. */
export function serviceJson(
  service: ServiceRecord,
  status: ServiceStatus | null,
  reports: { source: ServiceReport | null; target: ServiceReport | null }
): ServiceJson {
  const counted = reports.source ?? reports.target
  return {
    ...bareServiceJson(service),
    status: {
      phase: status?.phase ?? 'pending',
      conditions: (status?.conditions ?? []).map((condition) => ({
        ...condition,
        since: isoTime(status?.since.get(condition.type) ?? 0)
      })),
      effective_transport: status?.effectiveTransport ?? null,
      interface: status?.interface ?? null,
      flows: counted?.flows ?? 0,
      bytes_in: counted?.bytes_in ?? 0,
      bytes_out: counted?.bytes_out ?? 0
    }
  }
}

/** What was asked for. */
export const bareServiceJson = (service: ServiceRecord): Omit<ServiceJson, 'status'> => ({
  id: service.id,
  name: service.name,
  source_peer_id: service.source_peer_id,
  target_peer_id: service.target_peer_id,
  transport_type: service.transport_type,
  requires_interface: service.requires_interface,
  desired_ipv4_cidr: service.desired_ipv4_cidr,
  desired_ipv6_cidr: service.desired_ipv6_cidr,
  bandwidth_limit_mbps: service.bandwidth_limit_mbps,
  fully_transparent: service.fully_transparent,
  created_at: service.created_at,
  updated_at: service.updated_at
})

export const bareRouteJson = (route: RouteRecord): Omit<RouteJson, 'status'> => ({
  id: route.id,
  service_id: route.service_id,
  source_cidr: route.source_cidr,
  dest_cidr: route.dest_cidr,
  priority: route.priority
})

/** A route is what its service is: routes are programmed together or not at all. */
export function routeJson(route: RouteRecord, status: ServiceStatus | null): RouteJson {
  const phase = status?.phase ?? 'pending'
  return {
    ...bareRouteJson(route),
    status: phase === 'deleting' ? 'degraded' : phase
  }
}

export function peerJson(
  id: string,
  {
    member,
    departure,
    keys,
    presence,
    stranger,
    tunnels
  }: {
    member: Member | undefined
    departure: DepartureJson | null
    keys: PeerJson['keys']
    presence: PeerPresence | null
    /** What it is unless it is a member. */
    stranger: 'discovered' | 'revoked'
    tunnels: TunnelCounters[]
  },
  name: string | null
): PeerJson {
  const live = presence?.addresses ?? []
  return {
    id,
    name,
    state: member != null ? 'admitted' : stranger,
    role: member?.role ?? null,
    addresses: live.length > 0 ? live : [...(member?.record?.mesh_addresses ?? [])],
    reachable: presence?.reachable ?? false,
    rtt_ms: presence?.rttMs ?? null,
    last_seen_at: presence?.lastSeenAt == null ? null : isoTime(presence.lastSeenAt),
    version: presence?.version ?? member?.record?.version ?? null,
    keys,
    departure,
    tunnels: tunnels.map(({ device, endpoint, handshakeAt, bytesIn, bytesOut }) => ({
      device,
      endpoint,
      handshake_at: handshakeAt == null ? null : isoTime(handshakeAt),
      bytes_in: bytesIn,
      bytes_out: bytesOut
    }))
  }
}

export function departureJson(
  { id, how, by, at }: DepartedMember,
  view: View,
  confirmed: (member: string) => boolean
): DepartureJson {
  const members = [...view.members.values()].filter((member) => member.id !== id)
  const named = (wanted: boolean): DepartureJson['awaited'] =>
    members.filter((member) => confirmed(member.id) === wanted).map((member) => ({ id: member.id, name: member.name }))
  return { how, by, by_name: nameOfPeer(by, view), at, confirmed_by: named(true), awaited: named(false) }
}
