import { hash } from 'node:crypto'
import type { PeerRecord, RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { byId } from '../../order.ts'

/**
 * The digest of one service's wish: everything that either endpoint programs for it, and nothing else (a rename changes
 * no packet). 16 hex digits of SHA-256 over canonical JSON, so that two peers with the same view have the same digest.
 */
export function specOf(
  service: ServiceRecord,
  routes: readonly RouteRecord[],
  source: PeerRecord | null,
  target: PeerRecord | null
): string {
  const wish = [
    service.id,
    service.source_peer_id,
    service.target_peer_id,
    service.transport_type,
    service.requires_interface,
    service.desired_ipv4_cidr,
    service.desired_ipv6_cidr,
    service.bandwidth_limit_mbps,
    service.fully_transparent,
    [...routes].sort(byId).map((route) => [route.id, route.source_cidr, route.dest_cidr, route.priority]),
    endpointWish(source),
    endpointWish(target)
  ]
  // Arrays keep their order, so this JSON has one form only.
  return hash('sha256', JSON.stringify(wish), 'hex').slice(0, 16)
}

const endpointWish = (peer: PeerRecord | null): unknown =>
  peer == null
    ? null
    : [
        peer.id,
        peer.data_addresses,
        peer.pegasus_key,
        peer.tempest_key,
        // Left out where there are none, so that agents that know of none come to the same digest.
        ...(peer.keys_before == null ? [] : [peer.keys_before])
      ]

interface Remembered {
  routes: readonly RouteRecord[]
  source: PeerRecord | null
  target: PeerRecord | null
  spec: string
}

const NO_ROUTES: readonly RouteRecord[] = []
const remembered = new WeakMap<ServiceRecord, Remembered>()

/** The same from a view; computed once for as long as the view's records stay the same objects. */
export function specIn(view: View, service: ServiceRecord): string {
  const routes = view.routesOf.get(service.id) ?? NO_ROUTES
  const source = view.members.get(service.source_peer_id)?.record ?? null
  const target = view.members.get(service.target_peer_id)?.record ?? null
  const known = remembered.get(service)
  if (known?.routes === routes && known.source === source && known.target === target) return known.spec
  const spec = specOf(service, routes, source, target)
  remembered.set(service, { routes, source, target, spec })
  return spec
}
