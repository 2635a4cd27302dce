import { diff } from '../../crdt/diff.ts'
import { SortedMap } from '../../crdt/sorted-map.ts'
import type { View } from '../../crdt/view.ts'
import { endpointsOf, peerSide, sourceSide, targetSide } from './desired.ts'
import { servicePopulation } from './population.ts'

type Kind = 'services' | 'routes' | 'members'

/** A record that makes this agent fail, though it is valid. */
export interface Held {
  kind: Kind
  id: string
  /** As it was when the agent failed on it; another one gets its chance. */
  record: object
  error: string
}

/**
 * Keeps out of what the actors see whatever they throw on: one record that a consumer does not survive must not stop it
 * from following all others. It is held until it changes, or this agent starts anew.
 */
export class Quarantine {
  readonly #held = new Map<string, Held>()
  #last: { view: View; shown: View } | null = null

  held(): Held[] {
    return [...this.#held.values()]
  }

  find(kind: Kind, id: string): Held | null {
    return this.#held.get(`${kind}/${id}`) ?? null
  }

  hold(suspects: Iterable<Held>): void {
    for (const held of suspects) this.#held.set(`${held.kind}/${held.id}`, held)
    this.#last = null
  }

  release(suspects: Iterable<Held>): void {
    for (const { kind, id } of suspects) this.#held.delete(`${kind}/${id}`)
    this.#last = null
  }

  /** The view without what is held; a member is left in, without what it says of itself. */
  shown(view: View): View {
    if (this.#held.size === 0) return view
    if (this.#last?.view === view) return this.#last.shown
    this.release(this.held().filter(({ kind, id, record }) => view[kind].get(id) !== record))
    const shown = this.held().reduce(leaveOut, view)
    this.#last = { view, shown }
    return shown
  }
}

/** What came with the change from one view to the next, each as a suspect. `before` is null at the start. */
export function suspectsOf(before: View | null, view: View, error: unknown): Held[] {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const empty = { ...view, members: new Map(), services: new Map(), routes: new Map(), tokens: new Map() }
  const { services, routes, members } = diff(before ?? empty, view)
  const of = (kind: Kind, { added, changed }: typeof services | typeof routes | typeof members): Held[] =>
    [...added, ...changed.map(({ after }) => after)].map((record) => ({ kind, id: record.id, record, error: text }))
  return [...of('members', members), ...of('services', services), ...of('routes', routes)]
}

/** Whether what this host makes of one record throws, whatever else there is. */
export function failsAlone(view: View, { kind, id }: Held): boolean {
  try {
    const alone = { ...view, routes: new Map(), routesOf: new Map() }
    if (kind === 'members') {
      const member = view.members.get(id)!
      peerSide(view, id)
      endpointsOf({ ...alone, members: new Map([[id, member]]) })
      return false
    }
    const service = view.services.get(kind === 'services' ? id : (view.routes.get(id)?.service_id ?? ''))
    if (service == null) return false
    const routes = kind === 'routes' ? [view.routes.get(id)!] : []
    const seen = { ...alone, services: new Map([[service.id, service]]), routesOf: new Map([[service.id, routes]]) }
    servicePopulation(seen, service)
    sourceSide(seen, service)
    targetSide(seen, service)
    return false
  } catch {
    return true
  }
}

function leaveOut(view: View, { kind, id }: Held): View {
  if (kind === 'services') return { ...view, services: without(view.services, id) }
  if (kind === 'routes') {
    const routesOf = new Map(view.routesOf)
    const service = view.routes.get(id)?.service_id ?? ''
    routesOf.set(
      service,
      (view.routesOf.get(service) ?? []).filter((route) => route.id !== id)
    )
    return { ...view, routes: without(view.routes, id), routesOf }
  }
  const member = view.members.get(id)
  if (member == null) return view
  return { ...view, members: new Map([...view.members, [id, { ...member, record: null }]]) }
}

/** Of the kind of map that it was, since only two of one kind are compared at the cost of their difference. */
function without<T>(records: ReadonlyMap<string, T>, id: string): ReadonlyMap<string, T> {
  if (records instanceof SortedMap) return (records as SortedMap<T>).without(id)
  return new Map([...records].filter(([key]) => key !== id))
}
