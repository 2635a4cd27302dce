import * as Automerge from '@automerge/automerge'
import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { hex } from '../../../src/crdt/bytes.ts'
import { parseChunk, plainChunk } from '../../../src/crdt/chunk.ts'
import {
  Document,
  operationsOf,
  type Applicable,
  type FieldValue,
  type Kind,
  type Operation,
  type Writer
} from '../../../src/crdt/document.ts'
import { genesisChunk } from '../../../src/crdt/genesis-change.ts'
import { KnownRecords } from '../../../src/crdt/known-records.ts'
import { madeRecords } from '../../../src/crdt/made-records.ts'
import type { ToldRecords } from '../../../src/crdt/told.ts'
import { TouchIndex } from '../../../src/crdt/touch.ts'

/** Random changes of a few records by a few authors, and somebody who reads them in both ways. */

export const GENESIS: Uint8Array = genesisChunk()
export const KINDS: readonly Kind[] = ['peers', 'services', 'routes']
export const IDS = ['x', 'y', 'z']
export const actorOf = (n: number): string => n.toString(16).padStart(2, '0').repeat(36)

const text = fc.string({ unit: 'grapheme', maxLength: 6 })
const value = fc.oneof(
  text,
  fc.maxSafeInteger(),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.boolean(),
  fc.constant(null),
  fc.array(text, { maxLength: 3 })
)
const fields: fc.Arbitrary<Record<string, FieldValue>> = fc.dictionary(
  fc.constantFrom('name', 'b', 'a', 'constructor', 'list'),
  value,
  { maxKeys: 3 }
)
export type Wish = [kind: Kind, id: string, fields: Record<string, FieldValue> | null]

export const wish: fc.Arbitrary<Wish> = fc.tuple(
  fc.constantFrom(...KINDS),
  fc.constantFrom(...IDS),
  fc.option(fields, { freq: 5 })
)
/** Who writes, whether it has heard of all before, and what. */
export const steps = fc.array(
  fc.tuple(fc.nat({ max: 2 }), fc.boolean(), fc.array(wish, { minLength: 1, maxLength: 3 })),
  {
    maxLength: 10
  }
)

export const named = (chunk: Uint8Array): Applicable => ({ hash: hex(parseChunk(chunk).hash), chunk })

export function change(document: Document, wishes: readonly Wish[]): Uint8Array | null {
  return document.change((writer: Writer) => {
    for (const [kind, id, put] of wishes) {
      if (put == null) writer.remove(kind, id)
      else writer.put(kind, id, put)
    }
  })
}

/** The change of Automerge's own that changes nothing and says `message`, which the author of that name then has. */
export function note(document: Document, actor: string, message: string): Uint8Array {
  const read = Automerge.load(document.save().bytes, { actor })
  const made = Automerge.emptyChange(read, { message, time: 0 })
  const chunk = plainChunk(Automerge.getLastLocalChange(made) ?? assert.fail('none was made'))
  Automerge.free(made)
  document.apply([named(chunk)])
  return chunk
}

/**
 * What an author writes after it has been told this, and has heard from then on; null when that changes nothing. What it has
 * `heard` already it is not told again.
 */
export function written(
  author: Document,
  heard: Set<Applicable>,
  told: readonly Applicable[],
  wishes: readonly Wish[]
): Applicable | null {
  const unheard = told.filter((one) => !heard.has(one))
  author.apply(unheard)
  for (const one of unheard) heard.add(one)
  const chunk = change(author, wishes)
  if (chunk == null) return null
  const made = named(chunk)
  heard.add(made)
  return made
}

/** Somebody who is given all changes, once by Automerge and once as they are read here. */
export class Reader {
  readonly document: Document
  readonly touches: TouchIndex
  readonly known: KnownRecords
  readonly operations: Map<string, Operation>
  last = 0

  /** `before`: the same one, before a start that goes on from what was saved. */
  constructor(isWhole: boolean, before: { reader: Reader; touches: TouchIndex; told: ToldRecords } | null = null) {
    this.document = before?.reader.document ?? new Document(GENESIS, actorOf(9))
    this.touches = before?.touches ?? new TouchIndex()
    this.operations = before?.reader.operations ?? new Map()
    this.last = before?.reader.last ?? 0
    const operationAt = (name: string): Operation | null => this.operations.get(name) ?? null
    this.known = new KnownRecords(this.touches, { isWhole, operationAt }, before?.told)
  }

  take(change: Applicable): void {
    this.document.apply([change])
    this.read(change)
  }

  /** Of a change that the document has. */
  read(change: Applicable): void {
    const operations = operationsOf(change.chunk)
    for (const one of operations.list) this.operations.set(one.id, one)
    const { touches } = this.touches.add(operations.list, 'nobody', 0)
    this.known.add({ operations, made: madeRecords(operations), touches })
    this.last = Math.max(this.last, operations.start + operations.list.length - 1)
  }

  /** Compares all that is there; answers how much of it was told without Automerge. */
  compare(): { told: number; asked: number } {
    const met = { told: 0, asked: 0 }
    for (const kind of KINDS) {
      for (const id of IDS) {
        const isTold = this.known.standing(kind, id, () => this.document) !== null
        met[isTold ? 'told' : 'asked']++
        const shown = this.known.read(kind, id, () => this.document)
        assert.deepEqual(shown, this.document.read(kind, id), `${kind} ${id}`)
        if (shown != null) assert.deepEqual(Object.keys(shown), Object.keys(this.document.read(kind, id) as object))
      }
    }
    return met
  }
}
