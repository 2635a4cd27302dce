import { bucketOf, GENESIS_OBJECTS, type FieldValue, type Kind, type Operations } from './document.ts'

/** A record that a change makes, with the fields that the same change gives it. */
export interface MadeRecord {
  kind: Kind
  id: string
  /** The operation that makes it: the name of its map. */
  object: string
  fields: Readonly<Record<string, FieldValue>>
  /** Field → the operation that has set it. */
  setBy: Readonly<Record<string, string>>
  /** Of fields that several have set side by side, those that did not prevail: in the order of their operations. */
  rivals?: Rivals
}

export type Rivals = ReadonlyMap<string, readonly Setting[]>

/** An operation that sets a field, and to what. */
export interface Setting {
  by: string
  value: FieldValue
}

/**
 * The records that a change makes and that can be read from it alone: nothing in one is set twice or holds more than texts,
 * numbers, truths and lists of them. To read one from Automerge takes 0.2 ms, as long as all the rest that becomes of a
 * change. Who uses it asks Automerge whether nobody else has written there.
 */
export function madeRecords({ list, isPlain }: Operations): readonly MadeRecord[] {
  if (!isPlain) return NONE
  const records = new Map<
    string,
    { record: MadeRecord; fields: Map<string, FieldValue>; setBy: Record<string, string> }
  >()
  const lists = new Map<string, { record: string; items: unknown[]; last: string }>()
  /** How many operations set what stands under an id. */
  const set = new Map<string, number>()
  const drop = (object: string): void => void records.delete(object)
  for (const { id, action, object, key, element, insert, replaces, value } of list) {
    const place = GENESIS_OBJECTS.get(object)
    const [within, at] = [records.get(object), lists.get(object)]
    if (place != null && key != null) {
      const name = `${place.kind}/${key}`
      set.set(name, (set.get(name) ?? 0) + 1)
      const record = { kind: place.kind, id: key, object: id, fields: {}, setBy: noneSet() }
      // Where nobody looks for it there may be another one of its name.
      const isRecord = action === 'makeMap' && replaces.length === 0 && object === bucketOf(place.kind, key)
      if (isRecord) records.set(id, { record, fields: new Map(), setBy: noneSet() })
    } else if (within != null && key != null) {
      const isList = action === 'makeList'
      // What is called __proto__ Automerge does not show.
      const isOdd = replaces.length > 0 || within.fields.has(key) || key === '__proto__'
      if (isOdd || !(isList || isScalar(action, value))) drop(object)
      else {
        within.setBy[key] = id
        const items: string[] = []
        within.fields.set(key, isList ? items : (value as FieldValue))
        if (isList) lists.set(id, { record: object, items, last: '_head' })
      }
    } else if (at != null) {
      if (!insert || element !== at.last || !isScalar(action, value)) drop(at.record)
      at.items.push(value)
      at.last = id
    } else drop(object)
  }
  return [...records.values()].flatMap(({ record, fields, setBy }) =>
    set.get(`${record.kind}/${record.id}`) === 1
      ? [{ ...record, fields: Object.fromEntries(sorted(fields)), setBy }]
      : []
  )
}

/** A field may bear any name. */
export const noneSet = (): Record<string, string> => Object.create(null) as Record<string, string>

const NONE: readonly MadeRecord[] = []

export const isScalar = (action: string, value: unknown): boolean =>
  action === 'set' && (value === null || ['string', 'number', 'boolean'].includes(typeof value))

/** In the order in which Automerge shows them. */
export const sorted = (fields: Iterable<[string, FieldValue]>): Array<[string, FieldValue]> =>
  [...fields].sort(([a], [b]) => (a < b ? -1 : 1))
