import { bucketOf, GENESIS_OBJECTS, type FieldValue, type Kind, type Operation, type Operations } from './document.ts'
import { isBelow, isSetting } from './known-records.ts'
import { isScalar, noneSet, type MadeRecord, type Rivals, type Setting } from './made-records.ts'
import type { Touch, TouchIndex } from './touch.ts'

/**
 * What some records are by all changes that count, in whatever order they are given: of the operations on them those that no other
 * one names as what it replaces. It is what `known-records.ts` tells. But whether that tells of a record at all, or leaves it to Automerge,
 * depends on the order where two have stood under one id, one after the other; and so does which of several that are gone it
 * names. Nothing here does, so two who have heard of the same in different orders can be compared by it.
 */
export class LiveRecords {
  readonly #touches: TouchIndex
  readonly #isWanted: (kind: Kind, id: string) => boolean
  readonly #found = new Map<string, Found>()

  /** Of the records that are wanted and of no other. */
  constructor(touches: TouchIndex, isWanted: (kind: Kind, id: string) => boolean) {
    this.#touches = touches
    this.#isWanted = isWanted
  }

  /** A valid change. `operations`: null where its form says nothing. */
  add(operations: Operations | null, touches: readonly Touch[]): void {
    if (operations?.isPlain === true) this.#walk(operations.list)
    else for (const touch of touches) this.#leave(touch)
  }

  /** What stands there, or all that ever stood there; undefined: nothing ever; null: only Automerge can tell. */
  standing(kind: Kind, id: string): MadeRecord | { readonly goneOf: ReadonlySet<string> } | null | undefined {
    const found = this.#found.get(`${kind}/${id}`)
    if (found == null) return undefined
    const { isOdd, made, deleted, settings } = found
    const [object, ...more] = [...made].filter((one) => !deleted.has(one))
    if (isOdd || more.length > 0 || made.size === 0 || [...deleted].some((one) => !made.has(one))) return null
    return object == null ? { goneOf: made } : recordOf({ kind, id, object }, settings.get(object) ?? new Map())
  }

  #walk(list: readonly Operation[]): void {
    const lists = new Map<string, { found: Found; items: unknown[]; last: string }>()
    for (const operation of list) {
      const { id: name, object, key, action, element, insert, value } = operation
      const place = GENESIS_OBJECTS.get(object)
      const within = lists.get(object)
      if (place != null) {
        const found = key == null ? null : this.#foundOf({ kind: place.kind, id: key })
        if (found != null) setWhole(found, place.kind, operation)
      } else if (within != null) {
        if (!insert || element !== within.last || !isScalar(action, value)) within.found.isOdd = true
        within.items.push(value)
        within.last = name
      } else {
        const at = this.#touches.placeOf(object)
        const found = at?.owner == null ? null : this.#foundOf(at.owner)
        if (found == null) continue
        const items: string[] = []
        if (at?.isMap !== true || at.field !== null || !isSetting(operation)) found.isOdd = true
        else setField(found, operation, action === 'makeList' ? items : (value as FieldValue))
        if (action === 'makeList') lists.set(name, { found, items, last: '_head' })
      }
    }
  }

  /** null for one that is not wanted. */
  #foundOf({ kind, id }: Touch): Found | null {
    const key = `${kind}/${id}`
    const held = this.#found.get(key)
    if (held != null || !this.#isWanted(kind, id)) return held ?? null
    const found = { isOdd: false, made: new Set<string>(), deleted: new Set<string>(), settings: new Map() }
    this.#found.set(key, found)
    return found
  }

  #leave(touch: Touch): void {
    const found = this.#foundOf(touch)
    if (found != null) found.isOdd = true
  }
}

interface Found {
  /** Something was written there that records are not made of. */
  isOdd: boolean
  made: Set<string>
  deleted: Set<string>
  /** Object, then field. */
  settings: Map<string, Map<string, Made[]>>
}

interface Made extends Setting {
  replaces: readonly string[]
}

/** An operation on what stands under an id as a whole. */
function setWhole(found: Found, kind: Kind, { id: name, object, key, action, replaces }: Operation): void {
  const [only] = replaces
  if (object !== bucketOf(kind, key ?? '')) found.isOdd = true
  else if (action === 'makeMap' && replaces.length === 0) found.made.add(name)
  else if (action === 'del' && replaces.length === 1 && only != null) found.deleted.add(only)
  else found.isOdd = true
}

function setField({ settings }: Found, { id: by, object, key, replaces }: Operation, value: FieldValue): void {
  const fields = settings.get(object) ?? new Map<string, Made[]>()
  settings.set(object, fields)
  const all = fields.get(key ?? '') ?? []
  fields.set(key ?? '', all)
  all.push({ by, value, replaces })
}

/** null when a field replaces what was never its. */
function recordOf(
  name: Pick<MadeRecord, 'kind' | 'id' | 'object'>,
  all: ReadonlyMap<string, readonly Made[]>
): MadeRecord | null {
  const fields: Array<[string, FieldValue]> = []
  const setBy = noneSet()
  const rivals = new Map<string, Setting[]>() satisfies Rivals
  for (const [field, settings] of all) {
    const names = new Set(settings.map(({ by }) => by))
    const replaced = new Set(settings.flatMap(({ replaces }) => replaces))
    if ([...replaced].some((one) => !names.has(one))) return null
    const live = settings
      .filter(({ by }) => !replaced.has(by))
      .map(({ by, value }) => ({ by, value }))
      .sort((a, b) => (isBelow(a.by, b.by) ? -1 : 1))
    const last = live.pop()
    if (last == null) return null
    fields.push([field, last.value])
    setBy[field] = last.by
    if (live.length > 0) rivals.set(field, live)
  }
  return { ...name, fields: Object.fromEntries(fields), setBy, rivals }
}
