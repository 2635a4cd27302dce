import { SINGULAR, type Kind } from './document.ts'
import type { Entry } from './entries.ts'
import { checkPolicy, DEFAULT_POLICY, POLICY_FIELDS, POLICY_ID } from './policy.ts'
import type { PeerId, PeerRecord, Policy, RouteRecord, ServiceRecord, TokenRecord } from './schema.ts'
import { equalRecords } from './diff.ts'
import { InvalidRequestError } from '../errors.ts'
import { SortedMap } from './sorted-map.ts'
import { checkToken, TOKEN_FIELDS } from './token.ts'
import { attempt, checkPeer, checkRoute, checkService, PEER_FIELDS, SERVICE_RECORD_FIELDS } from './validate.ts'
import type { RejectedChange } from './view.ts'

/**
 * The valid records of the document, kept up to date by what is touched. A record that fails validation is left out and
 * listed; a route is left out without a word when its service is gone or left out.
 */
export class Records {
  services: SortedMap<ServiceRecord> = SortedMap.empty
  routes: SortedMap<RouteRecord> = SortedMap.empty
  routesOf: SortedMap<readonly RouteRecord[]> = SortedMap.empty
  tokens: SortedMap<TokenRecord> = SortedMap.empty
  policy: Policy = DEFAULT_POLICY
  readonly peers = new Map<PeerId, PeerRecord>()
  /** `kind/id` → what is wrong with the record, and the change that showed it. */
  readonly rejected = new Map<string, RejectedChange>()
  /** Every route in the document, as it was merged, by service. */
  readonly #rawRoutes = new Map<string, Map<string, Raw>>()
  readonly #serviceOfRoute = new Map<string, string>()

  routeIdsOf(serviceId: string): string[] {
    return [...(this.#rawRoutes.get(serviceId)?.keys() ?? [])]
  }

  hasServiceLike(prefix: string): boolean {
    if (this.services.ceiling(prefix)?.startsWith(prefix) === true) return true
    return [...this.rejected.keys()].some((key) => key.startsWith(`services/${prefix}`))
  }

  /** All that is in the document and right, as {@link update} may be given it; routes also where their service is not. */
  *held(): Generator<[kind: Kind, id: string, value: unknown]> {
    for (const [id, record] of this.peers) yield ['peers', id, record]
    for (const [id, record] of this.services) yield ['services', id, record]
    for (const [id, record] of this.tokens) yield ['tokens', id, record]
    if (this.policy !== DEFAULT_POLICY) yield ['policies', POLICY_ID, this.policy]
    for (const routes of this.#rawRoutes.values()) {
      for (const [id, raw] of routes) if (!this.rejected.has(`routes/${id}`)) yield ['routes', id, raw]
    }
  }

  /** Reads anew what was touched. */
  update(touched: Iterable<Touched>, read: (kind: Kind, id: string) => unknown): void {
    const all = new Map<string, Entry>()
    const some = new Map<string, Map<string, Entry>>()
    for (const { kind, id, by } of touched) {
      const value = read(kind, id)
      switch (kind) {
        case 'peers':
          this.#putPeer(id, value, by)
          break
        case 'tokens':
          this.#putToken(id, value, by)
          break
        case 'policies':
          this.#putPolicy(id, value, by)
          break
        case 'services':
          this.#putService(id, value, by)
          all.set(id, by)
          break
        case 'routes':
          for (const service of this.#putRawRoute(id, value)) {
            const routes = some.get(service)
            if (routes == null) some.set(service, new Map([[id, by]]))
            else routes.set(id, by)
          }
      }
    }
    // What a route may be depends on its service, so a touched service has all its routes checked again.
    for (const [service, by] of all) {
      const ids = [...this.routeIdsOf(service), ...(some.get(service)?.keys() ?? [])]
      this.#showRoutes(service, new Map(ids.map((id) => [id, some.get(service)?.get(id) ?? by])))
    }
    for (const [service, routes] of some) if (!all.has(service)) this.#showRoutes(service, routes)
  }

  #putPeer(id: string, value: unknown, by: Entry): void {
    const checked = value === undefined ? null : checkedPeer(id, value)
    this.#judge('peers', id, checked, by)
    if (checked == null || !('record' in checked)) this.peers.delete(id)
    else if (!equalRecords(checked.record, this.peers.get(id) ?? {})) this.peers.set(id, checked.record)
  }

  #putToken(id: string, value: unknown, by: Entry): void {
    const checked = value === undefined ? null : attempt(() => checkToken(pick(value, id, TOKEN_FIELDS)))
    this.#judge('tokens', id, checked, by)
    if (checked == null || !('record' in checked)) this.tokens = this.tokens.without(id)
    else if (!equalRecords(checked.record, this.tokens.get(id) ?? {}))
      this.tokens = this.tokens.with(id, checked.record)
  }

  /** A policy that is none leaves the cluster without limits: it must never stop anything by being broken. */
  #putPolicy(id: string, value: unknown, by: Entry): void {
    if (id !== POLICY_ID) return
    const checked =
      value === undefined
        ? null
        : attempt(() => checkPolicy(pick<{ id: string } & Partial<Policy>>(value, id, POLICY_FIELDS)))
    this.#judge('policies', id, checked, by)
    this.policy = checked != null && 'record' in checked ? checked.record : DEFAULT_POLICY
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
  #putRawRoute(id: string, value: unknown): Set<string> {
    const services = new Set<string>()
    const before = this.#serviceOfRoute.get(id)
    if (before != null) {
      services.add(before)
      const routes = this.#rawRoutes.get(before)
      routes?.delete(id)
      if (routes?.size === 0) this.#rawRoutes.delete(before)
      this.#serviceOfRoute.delete(id)
    }
    const raw = value as Raw | null | undefined
    const service = raw?.service_id
    // A route without a service has no place to be shown in.
    if (raw == null || typeof service !== 'string') return services
    this.#serviceOfRoute.set(id, service)
    const routes = this.#rawRoutes.get(service)
    if (routes == null) this.#rawRoutes.set(service, new Map([[id, raw]]))
    else routes.set(id, raw)
    return services.add(service)
  }

  /** Puts these routes of a service, or their absence, into the view. */
  #showRoutes(serviceId: string, ids: Map<string, Entry>): void {
    const service = this.services.get(serviceId)
    const raw = this.#rawRoutes.get(serviceId)
    const shown = new Map((this.routesOf.get(serviceId) ?? []).map((route) => [route.id, route]))
    let changed = false
    for (const [id, by] of ids) {
      const value = raw?.get(id)
      const checked = service == null || value == null ? null : attempt(() => checkRoute(pick(value, id), service))
      this.#judge('routes', id, checked, by)
      const before = shown.get(id)
      if (checked != null && 'record' in checked) {
        if (before != null && equalRecords(before, checked.record)) continue
        shown.set(id, checked.record)
        this.routes = this.routes.with(id, checked.record)
        changed = true
      } else if (before != null) {
        shown.delete(id)
        if (this.routes.get(id) === before) this.routes = this.routes.without(id)
        changed = true
      }
    }
    if (!changed) return
    const list = [...shown.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
    this.routesOf = list.length === 0 ? this.routesOf.without(serviceId) : this.routesOf.with(serviceId, list)
  }

  #judge(kind: Kind, id: string, checked: { record: unknown } | { reason: string } | null, by: Entry): void {
    const key = `${kind}/${id}`
    if (checked != null && 'reason' in checked) {
      const reason = `${SINGULAR[kind]} ${id}: ${checked.reason}`
      this.rejected.set(key, { hash: by.hash, author: by.authorId, reason })
    } else {
      this.rejected.delete(key)
    }
  }
}

/** By what was said of a peer, which is one object for all who read it (`made-records.ts`); whoever says it names it once. */
const checkedPeers = new WeakMap<object, { id: string; checked: ReturnType<typeof checkPeerRecord> }>()

const checkPeerRecord = (id: string, value: unknown): { record: PeerRecord } | { reason: string } =>
  attempt(() => checkPeer(pick(value, id, PEER_FIELDS)))

function checkedPeer(id: string, value: unknown): ReturnType<typeof checkPeerRecord> {
  if (typeof value !== 'object' || value == null) return checkPeerRecord(id, value)
  const known = checkedPeers.get(value)
  if (known?.id === id) return known.checked
  const checked = checkPeerRecord(id, value)
  checkedPeers.set(value, { id, checked })
  return checked
}

export interface Touched {
  kind: Kind
  id: string
  by: Entry
}

type Raw = Record<string, unknown>

/** What a service would be if it passed its checks. */
export const pickService = (value: object, id: string): ServiceRecord => pick(value, id, SERVICE_RECORD_FIELDS)

/** The record as the checks take it, its key as its id. Fields of newer versions stay in the document, out of the view. */
function pick<T extends { id: string }>(value: unknown, id: string, fields?: readonly string[]): T {
  if (typeof value !== 'object' || value == null || Array.isArray(value)) {
    throw new InvalidRequestError('it is no record')
  }
  const entries = Object.entries(value).filter(([field]) => fields == null || fields.includes(field))
  return { ...Object.fromEntries(entries), id } as T
}
