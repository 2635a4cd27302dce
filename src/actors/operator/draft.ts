import type { RouteId, RouteRecord, ServiceId, ServiceRecord } from '../../crdt/schema.ts'
import { checkRoute, checkService } from '../../crdt/validate.ts'
import type { View } from '../../crdt/view.ts'
import { InvalidRequestError } from '../../errors.ts'

/** Services and routes as they would be, and which would be gone. All else stays as it is. */
export interface Draft {
  services: readonly ServiceRecord[]
  routes: readonly RouteRecord[]
  gone: { services: readonly ServiceId[]; routes: readonly RouteId[] }
}

/** The view with the draft in it: for looking ahead, not for writing. */
export function drafted(view: View, draft: Draft): View {
  const services = new Map(view.services)
  const routes = new Map(view.routes)
  for (const id of draft.gone.services) services.delete(id)
  for (const id of draft.gone.routes) routes.delete(id)
  for (const service of draft.services) services.set(service.id, service)
  for (const route of draft.routes) routes.set(route.id, route)
  const there = [...routes.values()].filter(({ service_id }) => services.has(service_id))
  return {
    ...view,
    services,
    routes: new Map(there.map((route) => [route.id, route])),
    routesOf: Map.groupBy(there, ({ service_id }) => service_id)
  }
}

/** What another agent calls a draft, checked as what is written is. InvalidRequestError. */
export function asDraft(value: unknown, view: View): Draft {
  const { services, routes, gone } = fieldsOf(value)
  const checked = listOf<ServiceRecord>(services).map(checkService)
  const known = new Map([...view.services, ...checked.map((service) => [service.id, service] as const)])
  return {
    services: checked,
    routes: listOf<RouteRecord>(routes).flatMap((route) => {
      const service = known.get(route.service_id)
      // It may be gone here already.
      return service == null ? [] : [checkRoute(route, service)]
    }),
    gone: { services: idsOf(fieldsOf(gone)['services']), routes: idsOf(fieldsOf(gone)['routes']) }
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (value == null || typeof value !== 'object' || Array.isArray(value)) throw noDraft()
  return value as Record<string, unknown>
}

/** Of objects; what is in them is for the checks to say. */
function listOf<T>(value: unknown): T[] {
  if (!Array.isArray(value)) throw noDraft()
  return value.map((one) => fieldsOf(one) as T)
}

function idsOf(value: unknown): string[] {
  if (!Array.isArray(value) || value.some((id) => typeof id !== 'string')) throw noDraft()
  return value as string[]
}

const noDraft = (): InvalidRequestError =>
  new InvalidRequestError("this is no draft of services and routes; compare both agents' versions")
