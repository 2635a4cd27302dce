import type { PeerId, RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { Population, ServicePopulation } from './plan.ts'
import { specIn } from './spec.ts'

/**
 * The actors that should live on this host: one per peer it knows, one per service that it is an endpoint of (with one
 * per route), and one per remote peer that such a service needs a tunnel to. A service between two others is their business.
 */
export function populationFor(self: PeerId, view: View, seen: Iterable<PeerId>): Population {
  const peers = new Set(seen)
  for (const id of view.members.keys()) peers.add(id)
  const services = new Map<string, ServicePopulation>()
  const tunnels = new Set<PeerId>()
  if (!view.members.has(self)) return { peers, services, tunnels }
  for (const service of view.services.values()) {
    const other =
      service.source_peer_id === self
        ? service.target_peer_id
        : service.target_peer_id === self
          ? service.source_peer_id
          : null
    if (other == null) continue
    tunnels.add(other)
    services.set(service.id, servicePopulation(view, service))
  }
  return { peers, services, tunnels }
}

/** The same for one service that this host is an endpoint of. */
export const servicePopulation = (view: View, service: ServiceRecord): ServicePopulation => ({
  spec: specIn(view, service),
  routes: new Map((view.routesOf.get(service.id) ?? []).map((route) => [route.id, wishOf(route)]))
})

const wishes = new WeakMap<RouteRecord, string>()

/** What a route asks for, as text; records are immutable, so it is made once for each. */
function wishOf(route: RouteRecord): string {
  const known = wishes.get(route)
  if (known != null) return known
  const wish = `${route.source_cidr ?? '*'} → ${route.dest_cidr ?? '*'} priority ${route.priority}`
  wishes.set(route, wish)
  return wish
}
