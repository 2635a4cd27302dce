import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { once } from '../../once.ts'
import type { ServicePopulation } from './plan.ts'
import { specIn } from './spec.ts'

/** What should live of one service that this host is an endpoint of: one actor for it, and one per route. */
export const servicePopulation = (view: View, service: ServiceRecord): ServicePopulation => ({
  spec: specIn(view, service),
  routes: new Map((view.routesOf.get(service.id) ?? []).map((route) => [route.id, wishOf(route)]))
})

/** What a route asks for, as text; records are immutable, so it is made once for each. */
const wishOf = once(
  (route: RouteRecord): string => `${route.source_cidr ?? '*'} → ${route.dest_cidr ?? '*'} priority ${route.priority}`
)
