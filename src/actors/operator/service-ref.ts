import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { InvalidRequestError, RouteNotFoundError, ServiceNotFoundError } from '../../errors.ts'

/** The service with this id, in whatever case, or with exactly this name when only one has it. ServiceNotFoundError. */
export function findService(text: string, view: View): ServiceRecord {
  const byId = view.services.get(text.toUpperCase())
  if (byId != null) return byId
  const named = text === '' ? [] : [...view.services.values()].filter((service) => service.name === text)
  if (named.length === 0) throw new ServiceNotFoundError(text)
  if (named.length === 1) return named[0]!
  const matches = named.map((service) => service.id)
  throw new InvalidRequestError(`${named.length} services are named "${text}"; give the id: ${matches.join(', ')}`, {
    service: text,
    matches
  })
}

/** A route of that service, by id in whatever case. RouteNotFoundError. */
export function findRoute(text: string, service: ServiceRecord, view: View): RouteRecord {
  const route = view.routes.get(text.toUpperCase())
  if (route == null || route.service_id !== service.id) throw new RouteNotFoundError(text, service.id)
  return route
}
