import type { Kind } from './document.ts'
import type { Entry } from './ledger.ts'
import type { PeerId, PeerRecord, RouteRecord, ServiceRecord } from './schema.ts'
import { equalRecords } from './diff.ts'
import { InvalidRequestError } from '../errors.ts'
import { SortedMap } from './sorted-map.ts'
import { attempt, checkPeer, checkRoute, checkService, PEER_FIELDS } from './validate.ts'
import type { RejectedChange } from './view.ts'

/**
 * The valid records of the document, kept up to date by what is touched. A record that fails validation is left out and
 * listed; a route is left out without a word when its service is gone or left out.
 */
export class Records {
  services: SortedMap<ServiceRecord> = SortedMap.empty
  routes: SortedMap<RouteRecord> = SortedMap.empty
  routesOf: SortedMap<readonly RouteRecord[]> = SortedMap.empty
  readonly peers = new Map<PeerId, PeerRecord>()
  /** `kind/id` → what is wrong with the record, and the change that showed it. */
  readonly rejected = new Map<string, RejectedChange>()
  /** Every route in the document, as it was merged, by service. */
  readonly #rawRoutes = new Map<string, Map<string, Raw>>()
  readonly #serviceOfRoute = new Map<string, string>()

  routeIdsOf(serviceId: string): string[] {
    return [...(this.#rawRoutes.get(serviceId)?.keys() ?? [])]
  }

  /** Reads anew what was touched. */
  update(touched: Iterable<Touched>, read: (kind: Kind, id: string) => unknown): void {
    const services = new Map<string, Entry>()
    for (const { kind, id, by } of touched) {
      const value = read(kind, id)
      if (kind === 'peers') this.#putPeer(id, value, by)
      else if (kind === 'services') {
        this.#putService(id, value, by)
        services.set(id, by)
      } else {
        for (const service of this.#putRawRoute(id, value)) services.set(service, by)
      }
    }
    for (const [service, by] of services) this.#evaluateRoutes(service, by)
  }

  #putPeer(id: string, value: unknown, by: Entry): void {
    const checked = value === undefined ? null : attempt(() => checkPeer(pick(value, id, PEER_FIELDS)))
    this.#judge('peers', id, checked, by)
    if (checked == null || !('record' in checked)) this.peers.delete(id)
    else if (!equalRecords(checked.record, this.peers.get(id) ?? {})) this.peers.set(id, checked.record)
  }

  #putService(id: string, value: unknown, by: Entry): void {
    const checked = value === undefined ? null : attempt(() => checkService(pick(value, id)))
    this.#judge('services', id, checked, by)
    if (checked == null || !('record' in checked)) {
      this.services = this.services.without(id)
    } else if (!equalRecords(checked.record, this.services.get(id) ?? {})) {
      this.services = this.services.with(id, checked.record)
    }
  }

  /** Returns the services that the route belonged to before and belongs to now. */
  #putRawRoute(id: string, value: unknown): string[] {
    const before = this.#serviceOfRoute.get(id)
    if (before != null) {
      const routes = this.#rawRoutes.get(before)
      routes?.delete(id)
      if (routes?.size === 0) this.#rawRoutes.delete(before)
    }
    this.#serviceOfRoute.delete(id)
    this.rejected.delete(`routes/${id}`)
    const raw = value as Raw | null | undefined
    const service = raw?.service_id
    // A route without a service has no place to be shown in.
    if (raw == null || typeof service !== 'string') return before == null ? [] : [before]
    this.#serviceOfRoute.set(id, service)
    const routes = this.#rawRoutes.get(service)
    if (routes == null) this.#rawRoutes.set(service, new Map([[id, raw]]))
    else routes.set(id, raw)
    return before == null ? [service] : [before, service]
  }

  #evaluateRoutes(serviceId: string, by: Entry): void {
    const service = this.services.get(serviceId)
    const before = this.routesOf.get(serviceId) ?? []
    const after: RouteRecord[] = []
    const ids = [...(this.#rawRoutes.get(serviceId)?.keys() ?? [])].sort()
    for (const id of ids) {
      const raw = this.#rawRoutes.get(serviceId)?.get(id)
      const checked = service == null ? null : attempt(() => checkRoute(pick(raw, id), service))
      this.#judge('routes', id, checked, by)
      if (checked == null || !('record' in checked)) continue
      const held = this.routes.get(id)
      after.push(held != null && equalRecords(held, checked.record) ? held : checked.record)
    }
    for (const { id } of before) {
      if (!after.some((route) => route.id === id) && this.routes.get(id)?.service_id === serviceId) {
        this.routes = this.routes.without(id)
      }
    }
    for (const route of after) this.routes = this.routes.with(route.id, route)
    if (after.length === 0) this.routesOf = this.routesOf.without(serviceId)
    else if (after.length !== before.length || after.some((route, i) => route !== before[i])) {
      this.routesOf = this.routesOf.with(serviceId, after)
    }
  }

  #judge(kind: Kind, id: string, checked: { record: unknown } | { reason: string } | null, by: Entry): void {
    const key = `${kind}/${id}`
    if (checked != null && 'reason' in checked) {
      const reason = `${kind.slice(0, -1)} ${id}: ${checked.reason}`
      this.rejected.set(key, { hash: by.hash, author: by.authorId, reason })
    } else {
      this.rejected.delete(key)
    }
  }
}

export interface Touched {
  kind: Kind
  id: string
  by: Entry
}

type Raw = Record<string, unknown>

/** The record as the checks take it, its key as its id. Fields of newer versions stay in the document, out of the view. */
function pick<T extends { id: string }>(value: unknown, id: string, fields?: readonly string[]): T {
  if (typeof value !== 'object' || value == null || Array.isArray(value)) {
    throw new InvalidRequestError('it is no record')
  }
  const entries = Object.entries(value).filter(([field]) => fields == null || fields.includes(field))
  return { ...Object.fromEntries(entries), id } as T
}
