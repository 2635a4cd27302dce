import { automerge } from './automerge.ts'
import { plainChunk } from './chunk.ts'
import { bucketOf, type FieldValue, type Kind, type Writer } from './document.ts'
import { noneSet, type Setting } from './made-records.ts'
import type { Standing } from './told.ts'

/** What a change is to write: the fields of a record, or null for one that is to go. */
export type Wish = readonly [kind: Kind, id: string, fields: Readonly<Record<string, FieldValue>> | null]

/** What `write` asks for, one after the other. */
export function wishesOf(write: (writer: Writer) => void): Wish[] {
  const wishes: Wish[] = []
  write({
    put: (kind, id, fields) => void wishes.push([kind, id, fields]),
    remove: (kind, id) => void wishes.push([kind, id, null])
  })
  return wishes
}

export interface Frame {
  actor: string
  seq: number
  /** The number of its first operation. */
  start: number
  /** Hex hashes of the changes before it, in their order. */
  deps: readonly string[]
  message: string | null
}

/**
 * The change that Automerge makes of some wishes, byte by byte, made without a document: where what stands under their ids is
 * known, nothing else of it is needed. null when there is nothing to write; undefined when only Automerge can tell.
 */
export function changeOf(
  wishes: readonly Wish[],
  standing: (kind: Kind, id: string) => Standing | null | undefined,
  frame: Frame
): Uint8Array | null | undefined {
  const ops: object[] = []
  const records = new Map<string, Draft | null>()
  const add = (op: object): string => `${frame.start + ops.push(op) - 1}@${frame.actor}`
  for (const [kind, id, fields] of wishes) {
    const key = `${kind}/${id}`
    let record = records.get(key)
    if (record === undefined) {
      const held = standing(kind, id)
      if (held === null) return undefined
      record =
        held == null || 'gone' in held
          ? null
          : { ...held, setBy: Object.assign(noneSet(), held.setBy), rivals: new Map(held.rivals) }
    }
    const bucket = bucketOf(kind, id)
    if (fields == null) {
      if (record != null) add({ action: 'del', obj: bucket, key: id, pred: [record.object] })
      records.set(key, null)
      continue
    }
    if (!Object.values(fields).every(isExact)) return undefined
    record ??= {
      object: add({ action: 'makeMap', obj: bucket, key: id, pred: [] }),
      fields: {},
      setBy: noneSet(),
      rivals: new Map()
    }
    for (const [field, value] of Object.entries(fields)) record = withField(record, field, value, add)
    records.set(key, record)
  }
  return ops.length === 0 ? null : encoded(ops, frame)
}

/** The change that Automerge makes when there is nothing to write but what `message` says. */
export const noteOf = (frame: Frame): Uint8Array => encoded([], frame)

function encoded(ops: readonly object[], { actor, seq, start, deps, message }: Frame): Uint8Array {
  const change = { actor, seq, startOp: start, time: 0, message, deps: [...deps], ops }
  return plainChunk(automerge().encodeChange(change as never))
}

interface Draft {
  object: string
  fields: Readonly<Record<string, FieldValue>>
  setBy: Record<string, string>
  /** Of what it has not written yet. */
  rivals: Map<string, readonly Setting[]>
}

function withField(record: Draft, field: string, value: FieldValue, add: (op: object) => string): Draft {
  const { object, fields, setBy, rivals } = record
  const before = setBy[field]
  const pred = before == null ? [] : [...(rivals.get(field) ?? []).map(({ by }) => by), before]
  const at = { obj: object, key: field, pred }
  if (Array.isArray(value)) {
    const list = (setBy[field] = add({ action: 'makeList', ...at }))
    let last = '_head'
    for (const item of value) {
      last = add({ action: 'set', obj: list, elemId: last, insert: true, value: item, pred: [] })
    }
  } else {
    // What stands there already Automerge does not write again.
    if (pred.length === 1 && fields[field] === value) return record
    setBy[field] = add({ action: 'set', ...at, value, ...datatypeOf(value) })
  }
  rivals.delete(field)
  return { object, fields: { ...fields, [field]: value }, setBy, rivals }
}

/** As Automerge takes a whole number of JavaScript: one above zero as an integer, any other one as a float. */
const datatypeOf = (value: FieldValue): { datatype?: string } =>
  typeof value === 'number' ? { datatype: value > 0 ? 'int' : 'float64' } : {}

/** What `encodeChange` writes as it was given: of a fraction it may change the last bit, of -0 the sign. */
const isExact = (value: FieldValue): boolean =>
  typeof value !== 'number' || (Number.isSafeInteger(value) && !Object.is(value, -0))
