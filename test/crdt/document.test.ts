import { decodeChange, encodeChange } from '@automerge/automerge'
import assert from 'node:assert/strict'
import { hex } from '../../src/crdt/bytes.ts'
import { parseChunk, plainChunk } from '../../src/crdt/chunk.ts'
import { Document, isGenesisChunk, type Applicable } from '../../src/crdt/document.ts'
import { GENESIS_HASH, genesisChunk } from '../../src/crdt/genesis-change.ts'

const ACTOR = 'ab'.repeat(36)

describe('the document', () => {
  it('begins with the genesis that is known by its hash, or with another one that makes the same maps', () => {
    assert.equal(hex(parseChunk(genesisChunk()).hash), GENESIS_HASH)
    assert.equal(isGenesisChunk(genesisChunk()), true)
    const decoded = decodeChange(genesisChunk())
    assert.deepEqual(Buffer.from(plainChunk(encodeChange(decoded))), Buffer.from(genesisChunk()))
    const made = (change: Partial<typeof decoded>): Uint8Array =>
      plainChunk(encodeChange({ ...decoded, hash: undefined, ...change } as never))
    assert.notEqual(hex(parseChunk(made({ message: 'x' })).hash), GENESIS_HASH)
    assert.equal(isGenesisChunk(made({ message: 'x' })), true)
    assert.equal(isGenesisChunk(made({ ops: decoded.ops.slice(0, -1) })), false)
    const last = decoded.ops.at(-1)!
    assert.equal(isGenesisChunk(made({ ops: [...decoded.ops.slice(0, -1), { ...last, key: 'zz' }] })), false)
  })

  it('shows the same read as a whole as read one by one, whatever a member has put where records are', () => {
    const document = new Document(genesisChunk(), ACTOR)
    const ids = Array.from({ length: 600 }, (_, i) => `id${i}`)
    document.change((writer) => {
      for (const id of ids) writer.put('services', id, { name: id, list: ['one', 'two'], flag: true, none: null, n: 3 })
      for (const id of ids) if (id.endsWith('7')) writer.remove('services', id)
      writer.put('services', 'odd', { name: 'odd', ['__proto__']: 'x', constructor: 'y' })
    })
    const [before] = document.heads().keys()
    for (const put of [
      { action: 'set', key: 'id1', value: 'a text' },
      { action: 'set', key: 'id2', value: null },
      { action: 'makeList', key: 'id3' },
      { action: 'makeMap', key: '__proto__' },
      { action: 'set', key: 'toString', value: 3, datatype: 'int' }
    ]) {
      document.apply([named(beside(before as string, put))])
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

  it('knows its heads as Automerge does, of what is written side by side and on top of each other', () => {
    const authors = [0, 1, 2].map((i) => ({
      document: new Document(genesisChunk(), `${i}d`.repeat(36)),
      held: new Set()
    }))
    const all: Applicable[] = []
    const [first] = authors
    const counts = new Set<number>()
    for (let round = 0; round < 60; round++) {
      const author = authors[round % 3] as (typeof authors)[number]
      const { document, held } = author
      const change = named(
        document.change((writer) => writer.put('services', `s${round % 7}`, { name: `${round}` })) as Uint8Array
      )
      all.push(change)
      held.add(change)
      // The first hears of all at once, the others now and then.
      for (const one of round % 5 === 4 ? authors : [first as (typeof authors)[number]]) {
        const news = all.filter((other) => !one.held.has(other))
        one.document.apply(news)
        for (const other of news) one.held.add(other)
      }
      const heads = first?.document.heads() as ReturnType<Document['heads']>
      counts.add(heads.size)
      assert.deepEqual([...heads.keys()], first?.document.save().heads.toSorted(), `round ${round}`)
    }
    assert.ok(counts.size >= 3)
    for (const { document } of authors) document.free()
  })
})

const named = (chunk: Uint8Array): Applicable => ({ hash: hex(parseChunk(chunk).hash), chunk })

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
