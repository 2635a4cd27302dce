import { MalformedError } from './bytes.ts'
import { KINDS, type FieldValue, type Kind } from './document.ts'
import { GoneRecords } from './gone-records.ts'
import { noneSet, sorted, type MadeRecord, type Rivals, type Setting } from './made-records.ts'
import type { Standing, ToldRecords } from './told.ts'
import type { PlacedObject, TouchIndex } from './touch.ts'

/**
 * What stands under each id, as a snapshot says it. Each record is named by an object that some change has made, and all of
 * those are in the snapshot anyway; so there is one row for each object that was made as a record, in their order.
 */
export interface ToldHead {
  /** Kind and id, one after the other, of what only Automerge can tell. */
  left: string[]
  rows: ToldRow[]
}

export type ToldRow =
  /** The record is gone. */
  | typeof GONE
  /** The object is not, or not any more, what stands under its id, or only Automerge can tell. */
  | typeof OTHER
  | [
      /** Or where they are: the record in the snapshot, or that without its id. */
      fields: typeof AS_SHOWN | typeof WITHOUT_ID | Record<string, FieldValue>,
      /** Of each field, in the order of their names, the operation that has set it. */
      setBy: SetBy[],
      rivals?: Array<[field: string, settings: Array<[number: number, actor: number, value: FieldValue]>]>
    ]

/** How many operations after the one before it, by the author who has made the record; else a number and the place of an actor. */
type SetBy = number | [number: number, actor: number]

const [GONE, OTHER] = [0, 1] as const
const [AS_SHOWN, WITHOUT_ID] = [0, 1] as const

type SavedRecords = Iterable<readonly [kind: Kind, id: string, value: unknown, ...rest: unknown[]]>

/** The rows of {@link ToldHead}. `records`: those in the snapshot. `placeOf`: of an actor, in its list. */
export function* toldRows(
  objects: Iterable<PlacedObject>,
  told: ToldRecords,
  records: SavedRecords,
  placeOf: (actor: string) => number
): Generator<ToldRow> {
  const shown = byName(records)
  for (const object of objects) {
    const owner = ownerOf(object)
    if (owner == null) continue
    const [kind, id] = owner
    const standing = told.told(kind, id)
    if (standing == null) yield OTHER
    else if ('gone' in standing) yield standing.gone === object[0] ? GONE : OTHER
    else yield standing.object === object[0] ? rowOf(standing, shown.get(kind)?.get(id), placeOf) : OTHER
  }
}

function rowOf(
  { object, fields, setBy, rivals }: MadeRecord,
  shown: unknown,
  placeOf: (actor: string) => number
): ToldRow {
  const all = sorted(Object.entries(fields))
  const [first, maker] = partsOf(object)
  let before = first
  const by = all.map(([field]): SetBy => {
    const [number, actor] = partsOf(setBy[field] as string)
    if (actor !== maker) return [number, placeOf(actor)]
    const difference = number - before
    before = number
    return difference
  })
  const from = isShown(all, shown, false) ? AS_SHOWN : isShown(all, shown, true) ? WITHOUT_ID : fields
  if (rivals == null || rivals.size === 0) return [from, by]
  const beside = [...rivals].map(([field, settings]): [string, Array<[number, number, FieldValue]>] => [
    field,
    settings.map(({ by: name, value }) => {
      const [number, actor] = partsOf(name)
      return [number, placeOf(actor), value]
    })
  ])
  return [from, by, beside]
}

/** True when these are the fields of the record that is shown, but for its id if that is asked for. */
function isShown(fields: ReadonlyArray<[string, FieldValue]>, shown: unknown, withoutId: boolean): boolean {
  if (!isRecord(shown)) return false
  const names = Object.keys(shown)
  if (names.length !== fields.length + (withoutId ? 1 : 0)) return false
  return fields.every(
    ([field, value]) => !(withoutId && field === 'id') && Object.hasOwn(shown, field) && isSame(value, shown[field])
  )
}

const isSame = (one: FieldValue, other: unknown): boolean =>
  Array.isArray(one) && Array.isArray(other)
    ? one.length === other.length && one.every((item, i) => item === other[i])
    : one === other

/**
 * What a snapshot says of its records, read when it is asked for: most of them nobody writes again before the next start. MalformedError
 * when it is not in its form. Of one that another peer hands over more is asked (`told-foreign.ts`).
 */
export class SavedTold implements ToldRecords {
  readonly #actors: readonly string[]
  readonly #touches: TouchIndex
  readonly #gone = new GoneRecords()
  readonly #held = new Map<Kind, Map<string, Saved>>(KINDS.map((kind) => [kind, new Map()]))
  readonly #left: Array<readonly [Kind, string]> = []

  /** What is as long as the history is walked row by row. `touches`: where all the objects stand, and maybe more. */
  constructor(
    head: {
      actors: readonly string[]
      objects: Iterable<PlacedObject>
      records: SavedRecords
      told: { left: readonly string[]; rows: Iterable<unknown> }
    },
    touches: TouchIndex
  ) {
    const { actors, objects, records, told } = head
    const { rows, left } = told
    if (!isList(rows) || !Array.isArray(left)) throw wrong()
    this.#actors = actors
    this.#touches = touches
    const shown = byName(records)
    const rest = rows[Symbol.iterator]()
    for (const object of objects) {
      const owner = ownerOf(object)
      if (owner == null) continue
      const [kind, id] = owner
      const { done, value: row } = rest.next()
      if (done === true) throw wrong()
      if (row === OTHER) continue
      const value = shown.get(kind)?.get(id)
      const held = this.#held.get(kind)
      if (held == null || this.#isSaid(kind, id) || !this.#isRow(row, object[0], value)) throw wrong()
      if (row === GONE) this.#end(kind, id, object[0])
      else held.set(id, { object: object[0], row, value })
    }
    if (rest.next().done !== true || left.length % 2 !== 0) throw wrong()
    for (let i = 0; i < left.length; i += 2) {
      const [kind, id] = [left[i] as Kind, left[i + 1]]
      const held = this.#held.get(kind)
      if (held == null || typeof id !== 'string' || this.#isSaid(kind, id)) throw wrong()
      this.#left.push([kind, id])
    }
  }

  told(kind: Kind, id: string): Standing | undefined {
    const saved = this.#held.get(kind)?.get(id)
    if (saved != null) return this.#recordOf(kind, id, saved)
    const row = this.#rowOfGone(kind, id)
    return row < 0 ? undefined : { gone: this.#touches.objects.nameOf(row) }
  }

  left(): Iterable<readonly [Kind, string]> {
    return this.#left
  }

  /** A record stands there. */
  isThere(kind: Kind, id: string): boolean {
    return this.#held.get(kind)?.has(id) === true
  }

  /** All operations that it names, of each record first the one that has made it. */
  *named(): Generator<readonly [kind: Kind, id: string, number: number, actor: string]> {
    for (const [kind, all] of this.#held) {
      for (const [id, { object, row }] of all) {
        const [first, maker] = partsOf(object)
        yield [kind, id, first, maker]
        const [, by, beside] = row
        let before = first
        for (const one of by) {
          if (typeof one === 'number') yield [kind, id, (before += one), maker]
          else yield [kind, id, one[0], this.#actors[one[1]] as string]
        }
        for (const [, settings] of beside ?? []) {
          for (const [number, actor] of settings) yield [kind, id, number, this.#actors[actor] as string]
        }
      }
    }
    const { names, objects } = this.#touches
    for (const [record, row] of this.#gone) {
      const { kind, id } = names.at(record)
      yield [kind, id, ...partsOf(objects.nameOf(row))]
    }
  }

  #isSaid(kind: Kind, id: string): boolean {
    return this.isThere(kind, id) || this.#rowOfGone(kind, id) >= 0
  }

  #rowOfGone(kind: Kind, id: string): number {
    const record = this.#touches.names.find(kind, id)
    return record < 0 ? -1 : this.#gone.get(record)
  }

  #end(kind: Kind, id: string, object: string): void {
    const { names, objects } = this.#touches
    const [record, row] = [names.find(kind, id), objects.find(object)]
    if (record < 0 || row < 0 || objects.ownerAt(row) !== record) throw wrong()
    this.#gone.set(record, row)
  }

  #recordOf(kind: Kind, id: string, { object, row: [from, by, beside], value }: Saved): MadeRecord {
    const all = sorted(Object.entries(fieldsOf(from, value)))
    const [first, maker] = partsOf(object)
    const setBy = noneSet()
    let before = first
    for (const [i, [field]] of all.entries()) {
      const one = by[i] as SetBy
      setBy[field] = typeof one === 'number' ? `${(before += one)}@${maker}` : this.#nameOf(one)
    }
    const record = { kind, id, object, fields: Object.fromEntries(all), setBy }
    if (beside == null) return record
    const rivals: Rivals = new Map(
      beside.map(([field, settings]) => [
        field,
        settings.map(([number, actor, was]): Setting => ({ by: this.#nameOf([number, actor]), value: was }))
      ])
    )
    return { ...record, rivals }
  }

  #nameOf([number, actor]: readonly [number, number]): string {
    return `${number}@${this.#actors[actor]}`
  }

  #isRow(row: unknown, object: string, value: unknown): row is typeof GONE | RecordRow {
    if (!OPERATION.test(object)) return false
    if (row === GONE) return true
    if (!Array.isArray(row)) return false
    const [from, by, beside] = row as [unknown, unknown, unknown]
    const isTaken = from === AS_SHOWN || from === WITHOUT_ID
    const fields = isTaken ? value : from
    if (!isRecord(fields) || !Array.isArray(by)) return false
    const names = Object.keys(fields).filter((name) => from !== WITHOUT_ID || name !== 'id')
    if (by.length !== names.length || !names.every((name) => isFieldValue(fields[name]))) return false
    let number = numberOf(object)
    for (const one of by) {
      if (typeof one === 'number' ? !isNumber((number += one)) : !this.#isName(one)) return false
    }
    if (beside === undefined) return true
    return Array.isArray(beside) && beside.every((one) => Array.isArray(one) && this.#isRival(one, names))
  }

  #isRival([field, settings]: unknown[], names: readonly string[]): boolean {
    if (!names.includes(field as string) || !Array.isArray(settings) || settings.length === 0) return false
    return settings.every((one) => this.#isName(one) && one.length === 3 && isFieldValue((one as unknown[])[2]))
  }

  #isName(name: unknown): name is unknown[] {
    if (!Array.isArray(name)) return false
    const [number, actor] = name as [unknown, unknown]
    return isNumber(number) && typeof actor === 'number' && this.#actors[actor] != null
  }
}

/** A record that is there. */
interface Saved {
  object: string
  row: RecordRow
  /** Of the record in the snapshot. */
  value: unknown
}

type RecordRow = Extract<ToldRow, unknown[]>

function fieldsOf(from: RecordRow[0], value: unknown): Record<string, FieldValue> {
  if (from !== AS_SHOWN && from !== WITHOUT_ID) return from
  const record = value as Record<string, FieldValue>
  if (from === AS_SHOWN) return record
  const { id: _, ...fields } = record
  return fields
}

/** The record that an object was made as; null for one that is within a record, or beside all of them. */
export function ownerOf([, isMap, kind, id, field]: PlacedObject): readonly [Kind, string] | null {
  return isMap === 1 && kind != null && id != null && field === null ? [kind, id] : null
}

function byName(records: SavedRecords): Map<Kind, Map<string, unknown>> {
  const found = new Map<Kind, Map<string, unknown>>(KINDS.map((kind) => [kind, new Map()]))
  for (const [kind, id, value] of records) found.get(kind)?.set(id, value)
  return found
}

/** Its name, as `ledger.ts` takes it. */
const OPERATION = /^[1-9]\d{0,14}@/

const numberOf = (name: string): number => Number.parseInt(name, 10)

/** Of an operation. */
const partsOf = (name: string): [number: number, actor: string] => [numberOf(name), name.slice(name.indexOf('@') + 1)]

const isNumber = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value != null && !Array.isArray(value)

/** Read whole or row by row. */
const isList = (value: unknown): value is Iterable<unknown> =>
  typeof value === 'object' && value != null && Symbol.iterator in value

const isFieldValue = (value: unknown): boolean => isPlain(value) || (Array.isArray(value) && value.every(isPlain))

const isPlain = (value: unknown): boolean => value === null || ['string', 'number', 'boolean'].includes(typeof value)

const wrong = (): MalformedError => new MalformedError('what it says of who has set what is not in its form')
