import { GENESIS_OBJECTS, type FieldValue, type Operation } from './document.ts'
import type { Touch, TouchIndex } from './touch.ts'

/** What a change wants of one record: to be gone, or these fields to be so. */
export interface Intent extends Touch {
  removed: boolean
  /** The change makes the record. */
  made: boolean
  fields: Map<string, FieldValue>
}

/**
 * What a change wants, read from its operations; what this version does not know (objects deeper within a record, other
 * kinds) is left out. `index` knows the objects that it and all changes before it have made.
 */
export function intentsOf(operations: readonly Operation[], index: Pick<TouchIndex, 'placeOf'>): Intent[] {
  const intents = new Map<string, Intent>()
  const intent = ({ kind, id }: Touch): Intent => {
    const key = `${kind}/${id}`
    let found = intents.get(key)
    if (found == null) intents.set(key, (found = { kind, id, removed: false, made: false, fields: new Map() }))
    return found
  }
  for (const { action, object, key, value } of operations) {
    const bucket = GENESIS_OBJECTS.get(object)
    if (bucket?.isBucket === true && key != null) {
      const { kind } = bucket
      if (action === 'makeMap') {
        const made = intent({ kind, id: key })
        made.made = true
        made.removed = false
      }
      if (action === 'del') intent({ kind, id: key }).removed = true
      continue
    }
    const place = index.placeOf(object)
    if (place?.owner == null) continue
    const { fields } = intent(place.owner)
    if (place.field === null && key != null) {
      if (action === 'set') fields.set(key, isScalar(value) ? value : null)
      else if (action === 'makeList') fields.set(key, [])
      else if (action === 'del') fields.set(key, null)
    } else if (place.field != null && place.field !== '' && action === 'set') {
      const list = fields.get(place.field)
      fields.set(place.field, [...(Array.isArray(list) ? list : []), String(value)])
    }
  }
  return [...intents.values()]
}

const isScalar = (value: unknown): value is string | number | boolean | null =>
  value === null || ['string', 'number', 'boolean'].includes(typeof value)
