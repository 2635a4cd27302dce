import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { describe, it } from 'mocha'
import { concat } from '../../src/crdt/bytes.ts'
import { JsonList } from '../../src/crdt/json-list.ts'
import { jsonPieceBytes } from '../../src/crdt/limits.ts'

describe('a JSON list in pieces', () => {
  const made = (elements: readonly unknown[]): Uint8Array[] => {
    const list = new JsonList()
    for (const element of elements) list.add(element)
    return list.end()
  }

  it('is the list, byte by byte', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ stringUnit: 'binary', maxDepth: 2 })), (elements) => {
        assert.equal(Buffer.from(concat(made(elements))).toString(), JSON.stringify(elements))
      }),
      { numRuns: 50 }
    )
  })

  it('is in pieces of bounded size, with no element torn, whatever it is long', () => {
    // Four bytes in the file each, of two in memory.
    const elements = Array.from({ length: 5_000 }, (_, i) => '𝄞'.repeat(i % 100))
    const pieces = made(elements)
    assert.ok(pieces.length > 3)
    for (const piece of pieces) assert.ok(piece.length <= jsonPieceBytes)
    for (const piece of pieces)
      assert.equal(new TextDecoder('utf-8', { fatal: true }).decode(piece).includes('\uFFFD'), false)
    assert.deepEqual(JSON.parse(Buffer.from(concat(pieces)).toString()), elements)
  })

  it('takes an element that is larger than a piece', () => {
    const elements = ['a', 'ü'.repeat(jsonPieceBytes), 'b']
    assert.deepEqual(JSON.parse(Buffer.from(concat(made(elements))).toString()), elements)
  })
})
