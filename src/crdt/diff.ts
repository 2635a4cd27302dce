import type { PeerId, RouteId, RouteRecord, ServiceId, ServiceRecord, TokenId, TokenRecord } from './schema.ts'
import { SortedMap } from './sorted-map.ts'
import type { Member, View } from './view.ts'

export interface Changes<Id extends string, T> {
  added: T[]
  changed: Array<{ id: Id; before: T; after: T }>
  removed: T[]
}

/** A record before and after: no command moves a route to another service, but a member can write that it has moved. */
export const bothSides = <T>({ before, after }: { before: T; after: T }): T[] => [before, after]

export interface ViewDiff {
  members: Changes<PeerId, Member>
  services: Changes<ServiceId, ServiceRecord>
  routes: Changes<RouteId, RouteRecord>
  tokens: Changes<TokenId, TokenRecord>
}

/** What changed from one view to the next. Snapshots of one replica share what is equal, so this costs the change. */
export function diff(previous: View, next: View): ViewDiff {
  return {
    members: changesOf(previous.members, next.members),
    services: changesOf(previous.services, next.services),
    routes: changesOf(previous.routes, next.routes),
    tokens: changesOf(previous.tokens, next.tokens)
  }
}

/** The same for one kind of record. */
export function changesOf<T extends object>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>
): Changes<string, T> {
  const found: Changes<string, T> = { added: [], changed: [], removed: [] }
  if (before === after) return found
  for (const [id, now, was] of differences(before, after)) {
    if (was == null) found.added.push(now as T)
    else if (now == null) found.removed.push(was)
    else if (!equalRecords(now, was)) found.changed.push({ id, before: was, after: now })
  }
  return found
}

function* differences<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>
): Generator<[string, T | undefined, T | undefined]> {
  if (before instanceof SortedMap && after instanceof SortedMap) {
    yield* (after as SortedMap<T>).differences(before as SortedMap<T>)
    return
  }
  for (const [id, now] of after) if (before.get(id) !== now) yield [id, now, before.get(id)]
  for (const [id, was] of before) if (!after.has(id)) yield [id, undefined, was]
}

/** Records are flat but for lists and one record in another; their keys come in one order, since the fold makes them. */
export function equalRecords(a: object, b: object): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
