import { decodeChange, encodeChange } from '@automerge/automerge'
import * as fc from 'fast-check'
import { createHash } from 'node:crypto'
import assert from 'node:assert/strict'
import { concat, equalBytes, hex, MalformedError, uleb } from '../../src/crdt/bytes.ts'
import { readOperations } from '../../src/crdt/change-reader.ts'
import { parseChunk, plainChunk } from '../../src/crdt/chunk.ts'
import { Document, operationsIn, type Applicable, type Operations } from '../../src/crdt/document.ts'
import { genesisChunk } from '../../src/crdt/genesis-change.ts'
import { changeOperationsMax } from '../../src/crdt/limits.ts'
import { note } from './support/random-records.ts'

const GENESIS = genesisChunk()
const actor = (n: number): string => n.toString(16).padStart(2, '0').repeat(36)

describe('a change that is read without Automerge', function () {
  this.timeout(60_000)

  it('does what Automerge says that it does, whatever a peer has written', () => {
    const field = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 20 }),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.string({ maxLength: 8 }), { maxLength: 3 })
    )
    const kind = fc.constantFrom('peers', 'services', 'routes', 'tokens', 'policies')
    const id = fc.constantFrom('a', 'b', 'c', '01M8M1DHS9N0P8YATHW8DZ22FA', 'ü')
    const step = fc.record({
      by: fc.nat({ max: 2 }),
      writes: fc.array(
        fc.tuple(kind, id, fc.option(fc.dictionary(fc.string({ minLength: 1, maxLength: 9 }), field, { maxKeys: 5 }))),
        { maxLength: 4 }
      ),
      via: fc.option(fc.string({ minLength: 1, maxLength: 9 })),
      isNote: fc.boolean(),
      reaches: fc.boolean()
    })
    let plain = 0
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        for (const chunk of written(steps)) {
          const read = readOperations(chunk)
          if (read == null) continue
          assert.deepEqual(read, asAutomerge(chunk))
          plain++
        }
      }),
      { seed: 11, numRuns: 300 }
    )
    assert.ok(plain > 500, `${plain} were read`)
    assert.notEqual(readOperations(GENESIS), null)
  })

  it('is refused with any bit in it changed, exactly where Automerge would not have written it so', () => {
    const met = { read: 0, refused: 0, unknown: 0 }
    for (const chunk of samples()) {
      for (const broken of mangled(chunk)) {
        const [now, before] = [verdict(broken), byAutomerge(broken)]
        met[now === 'refused' ? 'refused' : now == null ? 'unknown' : 'read']++
        if (now != null) assert.deepEqual(now, before ?? 'refused', Buffer.from(broken).toString('hex'))
      }
    }
    assert.ok(met.read > 1000 && met.refused > 1000 && met.unknown > 100, JSON.stringify(met))
  })

  it('is refused before Automerge unfolds it when a hundred bytes name more than a change may have', () => {
    for (const unfolded of [manyOperations, manyReplaced]) {
      const few = unfolded(3)
      assert.deepEqual(readOperations(few), byAutomerge(few))
      assert.ok(byAutomerge(few) != null && few.length < 150)
      assert.equal(verdict(unfolded(2 ** 40)), 'refused')
      assert.equal(verdict(unfolded(changeOperationsMax + 1)), 'refused')
      assert.notEqual(verdict(unfolded(changeOperationsMax)), 'refused')
    }
  })
})

/** `count` times the same key is set to null. */
const manyOperations = (count: number): Uint8Array =>
  ofColumns([
    [0x15, [...sleb(count), 1, 0x78]],
    [0x34, uleb(count)],
    [0x42, [...sleb(count), 1]],
    [0x56, [...sleb(count), 0]],
    [0x70, [...sleb(count), 0]]
  ])

/** A key is set once, which replaces `count` values. */
const manyReplaced = (count: number): Uint8Array =>
  ofColumns([
    [0x15, [0x7f, 1, 0x78]],
    [0x34, [1]],
    [0x42, [0x7f, 1]],
    [0x56, [0x7f, 0]],
    [0x70, [0x7f, ...uleb(count)]],
    [0x71, [...sleb(count), 0]],
    [0x73, [...sleb(count), 1]]
  ])

function ofColumns(columns: Array<[specification: number, data: Iterable<number>]>): Uint8Array {
  const data = columns.map(([, bytes]) => Uint8Array.from(bytes))
  const heads = columns.flatMap(([specification], i) => [...uleb(specification), ...uleb(data[i]?.length ?? 0)])
  const author = [36, ...Buffer.from(actor(1), 'hex')]
  const [deps, seq, start, time, message, others] = [0, 1, 50, 0, 0, 0]
  const head = [deps, ...author, seq, start, time, message, others, columns.length, ...heads]
  return withData(concat([Uint8Array.from(head), ...data]))
}

function sleb(value: number): number[] {
  const bytes: number[] = []
  for (let left = value; ; left = Math.floor(left / 128)) {
    const low = left % 128
    if (left < 64) return [...bytes, low]
    bytes.push(low | 0x80)
  }
}

interface Step {
  by: number
  writes: Array<[kind: 'peers' | 'services' | 'routes' | 'tokens' | 'policies', id: string, fields: object | null]>
  via: string | null
  isNote: boolean
  /** The others hear of it at once. */
  reaches: boolean
}

/** What three peers write, who hear of each other's changes or do not. */
function written(steps: readonly Step[]): Uint8Array[] {
  const documents = [1, 2, 3].map((n) => new Document(GENESIS, actor(n)))
  const chunks: Uint8Array[] = []
  const unheard = documents.map((): Applicable[] => [])
  try {
    for (const { by, writes, via, isNote, reaches } of steps) {
      const author = documents[by]
      const chunk =
        author == null
          ? null
          : isNote
            ? note(author, actor(by + 1), 'said')
            : author.change((writer) => {
                for (const [kind, id, fields] of writes) {
                  if (fields == null) writer.remove(kind, id)
                  else writer.put(kind, id, fields as Record<string, string>)
                }
              }, via)
      if (chunk == null) continue
      chunks.push(chunk)
      const hash = hex(parseChunk(chunk).hash)
      for (const [i, changes] of unheard.entries()) if (i !== by) changes.push({ hash, chunk })
      if (!reaches) continue
      for (const [i, document] of documents.entries()) document.apply(unheard[i]?.splice(0) ?? [])
    }
    return chunks
  } finally {
    for (const document of documents) document.free()
  }
}

/** A service made, changed by two peers at once, by a third one on top of both, and deleted; lists, and a note. */
function samples(): Uint8Array[] {
  const service = { name: 's', bandwidth_limit_mbps: 0, transport_type: 'tcp', fully_transparent: false, cidr: null }
  const step = (by: number, fields: object | null, reaches = true, id = 'a'): Step => ({
    by,
    writes: [['services', id, fields]],
    via: by === 2 ? 'token' : null,
    isNote: false,
    reaches
  })
  return written([
    step(0, service),
    step(1, { name: 'x', bandwidth_limit_mbps: 300 }, false),
    step(2, { name: 'y' }),
    step(0, { name: 'z', list: ['one', 'two', 'two'] }),
    step(1, { list: [] }),
    step(0, null),
    { ...step(2, null), isNote: true }
  ])
}

/** Each byte of the data changed in several ways, left out, and written twice; the checksum is right every time. */
function* mangled(chunk: Uint8Array): Generator<Uint8Array> {
  const data = dataOf(chunk)
  for (let at = 0; at < data.length; at++) {
    const byte = data[at] as number
    const [before, after] = [data.subarray(0, at), data.subarray(at + 1)]
    for (const other of [0, byte ^ 0x01, byte ^ 0x02, byte ^ 0x40, byte ^ 0x80, byte + 1, 0x7f]) {
      yield withData(concat([before, Uint8Array.of(other), after]))
    }
    yield withData(concat([before, after]))
    yield withData(concat([before, Uint8Array.of(byte, byte), after]))
  }
}

function start(chunk: Uint8Array): number {
  let at = 9
  while (((chunk[at] as number) & 0x80) !== 0) at++
  return at + 1
}

const dataOf = (chunk: Uint8Array): Uint8Array => chunk.subarray(start(chunk))

function withData(data: Uint8Array): Uint8Array {
  const covered = concat([Uint8Array.of(1), uleb(data.length), data])
  const hash = createHash('sha256').update(covered).digest()
  return concat([Uint8Array.of(0x85, 0x6f, 0x4a, 0x83), hash.subarray(0, 4), covered])
}

const rebuilt = (change: Parameters<typeof encodeChange>[0]): Uint8Array => plainChunk(encodeChange(change))

function verdict(chunk: Uint8Array): Operations | 'refused' | null {
  try {
    return readOperations(chunk)
  } catch (error) {
    assert.ok(error instanceof MalformedError)
    return 'refused'
  }
}

/** What is in it by Automerge alone, if these are the bytes that it makes of that; null if they are not. */
function byAutomerge(chunk: Uint8Array): Operations | null {
  try {
    return equalBytes(rebuilt(decodeChange(chunk)), chunk) ? asAutomerge(chunk) : null
  } catch {
    return null
  }
}

const asAutomerge = (chunk: Uint8Array): Operations => ({ ...operationsIn(decodeChange(chunk)), isPlain: true })
