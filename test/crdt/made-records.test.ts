import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { hex } from '../../src/crdt/bytes.ts'
import { parseChunk } from '../../src/crdt/chunk.ts'
import { Document, operationsOf, type FieldValue, type Kind, type Writer } from '../../src/crdt/document.ts'
import { genesisChunk } from '../../src/crdt/genesis-change.ts'
import { madeRecords, type MadeRecord } from '../../src/crdt/made-records.ts'

const GENESIS = genesisChunk()
const author = (n: number): Document => new Document(GENESIS, n.toString(16).padStart(2, '0').repeat(36))

type Write = [kind: Kind, id: string, fields: Record<string, FieldValue> | null]

function chunkOf(document: Document, writes: readonly Write[]): Uint8Array | null {
  return document.change((writer: Writer) => {
    for (const [kind, id, fields] of writes) {
      if (fields == null) writer.remove(kind, id)
      else writer.put(kind, id, fields)
    }
  })
}

const madeIn = (chunk: Uint8Array): readonly MadeRecord[] => madeRecords(operationsOf(chunk))
const apply = (document: Document, chunk: Uint8Array): void =>
  document.apply([{ hash: hex(parseChunk(chunk).hash), chunk }])

describe('a record that is read from the change that makes it', function () {
  this.timeout(60_000)

  it('is what Automerge shows, as long as Automerge says that nobody else wrote there', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 8 })
    const field = fc.oneof(text, fc.maxSafeInteger(), fc.boolean(), fc.constant(null), fc.array(text, { maxLength: 3 }))
    const fields = fc.dictionary(fc.constantFrom('name', 'b', 'a', '__proto__', 'list'), field, { maxKeys: 4 })
    const write: fc.Arbitrary<Write> = fc.tuple(
      fc.constantFrom<Kind>('peers', 'services', 'routes'),
      fc.constantFrom('x', 'y', 'z', 'w'),
      fc.option(fields, { freq: 5 })
    )
    const met = { made: 0, others: 0 }
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 1 }), fc.array(write, { maxLength: 4 })), { maxLength: 6 }),
        (steps) => {
          // Two authors who do not hear of each other, and one who hears of both.
          const [one, two, reader] = [author(1), author(2), author(3)]
          try {
            for (const [by, writes] of steps) {
              const chunk = chunkOf(by === 0 ? one : two, writes)
              if (chunk == null) continue
              apply(reader, chunk)
              for (const { kind, id, object, fields: read } of madeIn(chunk)) {
                met[reader.isMadeBy(object, kind, id) ? 'made' : 'others']++
                if (reader.isMadeBy(object, kind, id)) assert.deepEqual(read, reader.read(kind, id))
              }
            }
          } finally {
            for (const document of [one, two, reader]) document.free()
          }
        }
      ),
      { seed: 5, numRuns: 400 }
    )
    assert.ok(met.made > 400 && met.others > 50, JSON.stringify(met))
  })

  it('is none when the change sets a field again, takes something away, or changes what stood there', () => {
    const document = author(1)
    const first = chunkOf(document, [
      ['services', 'made', { name: 'a', list: ['x', 'y'] }],
      ['services', 'set again', { name: 'a' }],
      ['services', 'set again', { name: 'b' }],
      ['services', 'gone', { name: 'a' }],
      ['services', 'gone', null]
    ])
    assert.deepEqual(
      madeIn(first as Uint8Array).map(({ id, fields }) => ({ id, fields })),
      [{ id: 'made', fields: { list: ['x', 'y'], name: 'a' } }]
    )
    const second = chunkOf(document, [['services', 'made', { name: 'c' }]])
    assert.deepEqual(madeIn(second as Uint8Array), [])
    document.free()
  })
})
