import { bucketOf, GENESIS_OBJECTS, KINDS, type FieldValue, type Kind, type Operation } from './document.ts'
import type { Entry } from './entries.ts'
import { GoneRecords } from './gone-records.ts'
import { isScalar, noneSet, sorted, type MadeRecord, type Setting } from './made-records.ts'
import type { Standing, ToldRecords } from './told.ts'
import type { Touch, TouchIndex } from './touch.ts'

/** The merged document, asked where nothing else can tell. */
export interface Merged {
  read(kind: Kind, id: string): unknown
  isMadeBy(object: string, kind: Kind, id: string): boolean
}

/**
 * What the valid changes have made of each record. An operation names those that it replaces; of those that nothing has
 * replaced the one with the highest number counts, then the one of the highest actor, as in Automerge, which takes as long
 * for it as all the rest that becomes of a change. What is written into a record that is gone is lost with it. The first
 * operation that is none of these leaves its record to Automerge, for good: two records under one id, and what honest
 * agents do not write.
 *
 * What comes of the same changes is the same in whatever order they come: a record is either told from its changes, which is
 * what Automerge shows, or asked of Automerge.
 */
export class KnownRecords implements ToldRecords {
  readonly #touches: TouchIndex
  /** Of a record of which nothing was said here or by `saved`, nothing was said at all. */
  readonly isWhole: boolean
  readonly #saved: ToldRecords | null
  readonly #operationAt: OperationAt
  readonly #gone = new GoneRecords()
  /** null: Automerge's. What is not here may be gone. */
  readonly #held = new Map<Kind, Map<string, MadeRecord | null>>(KINDS.map((kind) => [kind, new Map()]))
  /** Before these were made something else may have stood there. */
  readonly #doubtful = new Set<Standing>()

  /** `saved`: what had become of all changes before, which makes it whole. */
  constructor(
    touches: TouchIndex,
    { isWhole, operationAt }: { isWhole: boolean; operationAt: OperationAt },
    saved: ToldRecords | null = null
  ) {
    this.#touches = touches
    this.isWhole = isWhole || saved != null
    this.#operationAt = operationAt
    this.#saved = saved
    for (const [kind, id] of saved?.left() ?? []) this.#mapOf(kind).set(id, null)
  }

  /** A valid change; all that it builds on came before. */
  add({ operations, made, touches }: Pick<Entry, 'operations' | 'made' | 'touches'>): void {
    // Most changes do nothing else, and what they make is held once, however many read it.
    const areMade = made.length === touches.length && made.every((one) => !this.#isHeld(one.kind, one.id))
    if (areMade) for (const one of made) this.#begin(one)
    else if (operations?.isPlain === true) this.#walk(operations.list)
    else for (const { kind, id } of touches) this.#leave(kind, id)
  }

  /** The record as it is shown; undefined when there is none. */
  read(kind: Kind, id: string, merged: () => Merged): unknown {
    const standing = this.standing(kind, id, merged)
    if (standing === null) return merged().read(kind, id)
    return standing == null || 'gone' in standing ? undefined : standing.fields
  }

  /** undefined: nothing was ever there; null: only Automerge can tell. */
  standing(kind: Kind, id: string, merged: () => Merged): Standing | null | undefined {
    const held = this.#get(kind, id)
    if (held === undefined) return this.isWhole ? undefined : null
    if (held == null || 'gone' in held || !this.#doubtful.has(held)) return held
    this.#doubtful.delete(held)
    if (merged().isMadeBy(held.object, kind, id)) return held
    this.#leave(kind, id)
    return null
  }

  told(kind: Kind, id: string): Standing | null | undefined {
    return this.#get(kind, id)
  }

  *left(): Generator<readonly [kind: Kind, id: string]> {
    for (const [kind, held] of this.#held) for (const [id, standing] of held) if (standing === null) yield [kind, id]
  }

  #walk(list: readonly Operation[]): void {
    const lists = new Map<string, { kind: Kind; id: string; items: unknown[]; last: string }>()
    for (const operation of list) {
      const { id: name, object, key, action, element, insert, value } = operation
      const place = GENESIS_OBJECTS.get(object)
      const within = lists.get(object)
      if (place != null) {
        if (key != null) this.#setWhole(place.kind, key, operation)
      } else if (within != null) {
        within.items.push(value)
        if (!insert || element !== within.last || !isScalar(action, value)) this.#leave(within.kind, within.id)
        within.last = name
      } else {
        const owner = this.#touches.placeOf(object)?.owner
        // What newer versions keep beside the records.
        if (owner == null) continue
        const { kind, id } = owner
        const items: string[] = []
        const held = this.#get(kind, id)
        if (!isGone(held, object) || !isSetting(operation)) {
          const next = this.#withField(held, operation, items)
          if (next == null) this.#leave(kind, id)
          else this.#replace(next)
        }
        if (action === 'makeList') lists.set(name, { kind, id, items, last: '_head' })
      }
    }
  }

  /** An operation on what stands under an id as a whole. */
  #setWhole(kind: Kind, id: string, { id: name, object, action, replaces }: Operation): void {
    const held = this.#get(kind, id)
    const isThere = held != null && !('gone' in held) && !this.#doubtful.has(held)
    if (object !== bucketOf(kind, id)) this.#leave(kind, id)
    else if (action === 'makeMap' && replaces.length === 0 && !this.#isHeld(kind, id)) {
      this.#begin({ kind, id, object: name, fields: {}, setBy: noneSet() })
    } else if (action === 'del' && isThere && replaces.length === 1 && replaces[0] === held.object) {
      this.#end(held)
    } else if (action !== 'del' || replaces.length !== 1 || !isGone(held, replaces[0])) this.#leave(kind, id)
  }

  /** The record with the field that an operation sets, a list with `items`; null when it does not follow what is held. */
  #withField(held: Standing | null | undefined, operation: Operation, items: string[]): MadeRecord | null {
    const { id: name, object, action, key, replaces, value } = operation
    if (held == null || 'gone' in held || held.object !== object || key == null) return null
    if (!isSetting(operation)) return null
    const before = settingsOf(held, key)
    const unseen = replaces.filter((one) => before.every(({ by }) => by !== one))
    if (!unseen.every((one) => this.#hadSet(held, key, one) || this.#hasSet(one, held, key))) return null
    const made = { by: name, value: action === 'makeList' ? items : (value as FieldValue) }
    const left = before.filter(({ by }) => !replaces.includes(by))
    // What is set for the first time on either side is side by side; what replaces all follows.
    const settings = left.length === 0 ? [made] : [...left, made].sort((a, b) => (isBelow(a.by, b.by) ? -1 : 1))
    return withSettings(held, key, settings)
  }

  /** True for one that had set this field when `saved` was made: whoever has that need not have the change. */
  #hadSet({ kind, id, object }: MadeRecord, key: string, name: string): boolean {
    const saved = this.#saved?.told(kind, id)
    if (saved == null || 'gone' in saved || saved.object !== object) return false
    return settingsOf(saved, key).some(({ by }) => by === name)
  }

  /** True for an operation that has set this field before and was replaced since; or may have, as long as its change has not come. */
  #hasSet(name: string, { kind, id, object }: MadeRecord, key: string): boolean {
    const operation = this.#operationAt(name)
    if (operation != null && 'within' in operation) {
      return operation.within.some((touch) => touch.kind === kind && touch.id === id)
    }
    return operation?.object === object && operation.key === key && isSetting(operation)
  }

  #begin(record: MadeRecord): void {
    if (!this.isWhole && this.#get(record.kind, record.id) === undefined) this.#doubtful.add(record)
    this.#mapOf(record.kind).set(record.id, record)
  }

  /** It is gone. */
  #end({ kind, id, object }: MadeRecord): void {
    const { names, objects } = this.#touches
    const row = objects.find(object)
    if (row < 0) throw new Error(`object ${object} is not known`)
    this.#gone.set(names.numberOf(kind, id), row)
    this.#mapOf(kind).delete(id)
  }

  #replace(next: MadeRecord): void {
    const held = this.#get(next.kind, next.id)
    if (held != null && this.#doubtful.delete(held)) this.#doubtful.add(next)
    this.#mapOf(next.kind).set(next.id, next)
  }

  /** To Automerge. */
  #leave(kind: Kind, id: string): void {
    const held = this.#get(kind, id)
    if (held != null) this.#doubtful.delete(held)
    this.#mapOf(kind).set(id, null)
  }

  /** Something stands there, or is Automerge's. */
  #isHeld(kind: Kind, id: string): boolean {
    const held = this.#get(kind, id)
    return held === null || (held != null && !('gone' in held))
  }

  #get(kind: Kind, id: string): Standing | null | undefined {
    const held = this.#mapOf(kind).get(id)
    if (held !== undefined) return held
    const { names, objects } = this.#touches
    const number = names.find(kind, id)
    const row = number < 0 ? -1 : this.#gone.get(number)
    return row < 0 ? this.#saved?.told(kind, id) : { gone: objects.nameOf(row) }
  }

  #mapOf(kind: Kind): Map<string, MadeRecord | null> {
    return this.#held.get(kind) as Map<string, MadeRecord | null>
  }
}

/**
 * The operation of that name, which some valid change holds; of a change that is not here yet, the records that it writes; null for one
 * that cannot be read here.
 */
export type OperationAt = (name: string) => Operation | { within: readonly Touch[] } | null

/** What a field of a record is set by, as honest agents write it. */
export const isSetting = ({ action, key, value }: Operation): boolean =>
  key != null && key !== '__proto__' && (action === 'makeList' || isScalar(action, value))

const isGone = (held: Standing | null | undefined, object: string | undefined): boolean =>
  held != null && 'gone' in held && held.gone === object

/** All that nothing has replaced, the one that counts last. */
function settingsOf({ fields, setBy, rivals }: MadeRecord, key: string): readonly Setting[] {
  const by = setBy[key]
  return by == null ? [] : [...(rivals?.get(key) ?? []), { by, value: fields[key] as FieldValue }]
}

function withSettings(held: MadeRecord, key: string, settings: readonly Setting[]): MadeRecord {
  const { by, value } = settings.at(-1) as Setting
  const isNew = held.setBy[key] == null
  const fields = { ...held.fields, [key]: value }
  const setBy = Object.assign(noneSet(), held.setBy, { [key]: by })
  const next = { ...held, fields: isNew ? Object.fromEntries(sorted(Object.entries(fields))) : fields, setBy }
  if (settings.length === 1 && held.rivals?.has(key) !== true) return next
  const rivals = new Map(held.rivals)
  if (settings.length > 1) rivals.set(key, settings.slice(0, -1))
  else rivals.delete(key)
  return { ...next, rivals }
}

/** The order of Automerge: numbers first, then actors, byte by byte. */
export function isBelow(one: string, other: string): boolean {
  const [a, b] = [one.split('@') as [string, string], other.split('@') as [string, string]]
  const [first, second] = [Number(a[0]), Number(b[0])]
  return first < second || (first === second && a[1] < b[1])
}
