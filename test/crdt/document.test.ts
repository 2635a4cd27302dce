import { decodeChange, encodeChange } from '@automerge/automerge'
import assert from 'node:assert/strict'
import { plainChunk } from '../../src/crdt/chunk.ts'
import { Document, genesisChunk } from '../../src/crdt/document.ts'

const ACTOR = 'ab'.repeat(36)

describe('the document', () => {
  it('shows the same read as a whole as read one by one, whatever a member has put where records are', () => {
    const document = new Document(genesisChunk(), ACTOR)
    const ids = Array.from({ length: 600 }, (_, i) => `id${i}`)
    document.change((writer) => {
      for (const id of ids) writer.put('services', id, { name: id, list: ['one', 'two'], flag: true, none: null, n: 3 })
      for (const id of ids) if (id.endsWith('7')) writer.remove('services', id)
      writer.put('services', 'odd', { name: 'odd', ['__proto__']: 'x', constructor: 'y' })
    })
    const [before] = document.heads()
    for (const put of [
      { action: 'set', key: 'id1', value: 'a text' },
      { action: 'set', key: 'id2', value: null },
      { action: 'makeList', key: 'id3' },
      { action: 'makeMap', key: '__proto__' },
      { action: 'set', key: 'toString', value: 3, datatype: 'int' }
    ]) {
      document.apply([beside(before as string, put)])
    }
    const read = document.reader()
    const odd = ['odd', '__proto__', 'toString', 'hasOwnProperty', 'missing']
    let records = 0
    for (const kind of ['services', 'routes'] as const) {
      for (const id of [...ids, ...odd]) {
        assert.deepEqual(read(kind, id), document.read(kind, id), `${kind} ${id}`)
        if (read(kind, id) != null) records++
      }
    }
    assert.ok(records > 500)
    assert.equal(read('services', 'id1'), null)
    assert.notEqual(read('services', '__proto__'), undefined)
    document.free()
  })
})

let seq = 0

/** A change by somebody else that writes one key of the bucket where services with such a key are looked for. */
function beside(dep: string, put: { action: string; key: string }): Uint8Array {
  const other = new Document(genesisChunk(), ACTOR)
  const made = decodeChange(other.change((writer) => writer.put('services', put.key, { name: 'x' })) as Uint8Array)
  other.free()
  const op = { ...made.ops[0], ...put, pred: [] }
  const author = (0xc0 + seq++).toString(16).repeat(36)
  const change = { ...made, actor: author, startOp: 9000, deps: [dep], ops: [op] }
  delete (change as { hash?: unknown }).hash
  return plainChunk(encodeChange(change as never))
}
