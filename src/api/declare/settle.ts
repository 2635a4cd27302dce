import { describer } from './export.ts'
import { type Change, type Current, type MeshService, type RouteChange, routeKey } from './mesh-file.ts'
import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'

/**
 * What is left to do of some steps, in view of what there is: steps that are done, and those whose service or route is
 * gone, fall away, and ids that were not known are filled in. So steps can be taken back after only some of them were
 * done, and taking back can be tried again. Pure.
 */
export function settle(changes: readonly Change[], current: Current): Change[] {
  const services = new Map(current.services.map((service) => [service.id, service]))
  const byName = Map.groupBy(current.services, ({ name }) => name)
  const routesOf = Map.groupBy(current.routes, ({ service_id }) => service_id)
  const describe = describer(current)
  const find = ({ service, service_id }: Change): ServiceRecord | null => {
    const known = service_id == null ? undefined : services.get(service_id)
    const named = byName.get(service) ?? []
    return known ?? (named.length === 1 ? named[0]! : null)
  }
  const exists = (change: Change & { after: MeshService }): boolean => {
    if (change.service_id != null && services.has(change.service_id)) return true
    const wanted = JSON.stringify(withoutId(change.after))
    return (byName.get(change.after.name) ?? []).some((one) => JSON.stringify(withoutId(describe(one))) === wanted)
  }
  return changes.flatMap((change): Change[] => {
    if (change.kind === 'service' && change.action === 'create') return exists(change) ? [] : [change]
    const service = find(change)
    if (service == null) return []
    const there = { ...change, service_id: service.id }
    if (there.kind === 'route') return settleRoute(there, routesOf.get(service.id) ?? [])
    if (there.action !== 'update') return [there]
    const differs = Object.entries(there.after).some(
      ([field, value]) => service[field as keyof ServiceRecord] !== value
    )
    return differs ? [there] : []
  })
}

function settleRoute(change: RouteChange, routes: readonly RouteRecord[]): RouteChange[] {
  const like = (fields: RouteChange['before']): RouteRecord | undefined =>
    fields == null ? undefined : routes.find((route) => routeKey(route) === routeKey(fields))
  if (change.action === 'create') return like(change.after) == null ? [change] : []
  const route = routes.find(({ id }) => id === change.route_id) ?? like(change.before)
  if (route == null || (change.after != null && routeKey(route) === routeKey(change.after))) return []
  return [{ ...change, route_id: route.id }]
}

const withoutId = (service: MeshService): MeshService => ({ ...service, id: undefined })
