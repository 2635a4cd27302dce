import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { Entries, type Entry, type NewEntry } from '../../src/crdt/entries.ts'
import { actorOf } from '../../src/crdt/envelope.ts'
import { TouchNames } from '../../src/crdt/touch-names.ts'
import { signer } from './support.ts'
import { MemoryScratch } from './support/memory-scratch.ts'

const ACTORS = [
  actorOf('change', signer(1).publicKey, 1),
  actorOf('auth', signer(1).publicKey, 1),
  actorOf('change', signer(2).publicKey, 7),
  actorOf('kind-9', signer(2).publicKey, 7)
]
const AUTH = { operation: 'unknown', previous: '', via: null, peer: 'p', number: 99 } as const

/** Few beginnings, and so many hashes that point to the same place. */
const hash = fc
  .tuple(fc.constantFrom('00000000', 'ffffffff', '00000001', '3f000000'), fc.nat({ max: 9_999 }))
  .map(([head, n]) => head + n.toString(16).padStart(56, '0'))

const entry: fc.Arbitrary<NewEntry> = fc.record({
  actor: fc.constantFrom(...ACTORS),
  seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  writtenAt: fc.integer({ min: 0, max: 8.64e15 }),
  hash,
  dependencies: fc.array(fc.nat({ max: 0xffff_fffe }), { maxLength: 5 }),
  firstOperation: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  operationCount: fc.nat({ max: 100_000 }),
  auth: fc.constantFrom(null, AUTH),
  touches: fc.array(
    fc.record(
      { kind: fc.constantFrom('services', 'routes'), id: fc.constantFrom('a', 'b', '__proto__', 'é') },
      { noNullPrototype: true }
    ),
    { maxLength: 4 }
  ),
  operations: fc.constantFrom(null, { start: 1, list: [], message: null, isPlain: true }),
  made: fc.constant([]),
  forbidden: fc.option(fc.string()),
  needsAdmin: fc.boolean(),
  valid: fc.boolean(),
  offset: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }),
  length: fc.nat({ max: 0xffff_ffff }),
  bytes: fc.option(fc.uint8Array({ maxLength: 4 }))
})

type Step =
  | { add: NewEntry[] }
  | { cut: number }
  | { change: number; valid: boolean; offset: number; forbidden: string | null; isDone: boolean }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ add: fc.array(entry, { minLength: 1, maxLength: 120, size: 'max' }) }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      change: fc.double({ min: 0, max: 0.999, noNaN: true }),
      valid: fc.boolean(),
      offset: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }),
      forbidden: fc.option(fc.string()),
      isDone: fc.boolean()
    })
  }
)

/** What an entry tells of itself, as the model holds it. */
const told = (one: Entry): NewEntry => ({
  actor: one.actor,
  seq: one.seq,
  writtenAt: one.writtenAt,
  hash: one.hash,
  dependencies: one.deps.map(({ index }) => index),
  firstOperation: one.firstOperation,
  operationCount: one.operationCount,
  auth: one.auth,
  touches: one.touches,
  operations: one.operations,
  made: one.made,
  forbidden: one.forbidden,
  needsAdmin: one.needsAdmin,
  valid: one.valid,
  offset: one.offset,
  length: one.length,
  bytes: one.bytes
})

describe('the entries of a ledger', function () {
  this.timeout(60_000)

  it('are what a list of them would hold, however it grows, is cut off and changed', () => {
    compare(() => new Entries(new TouchNames()))
  })

  it('are the same when memory holds few of them, and the disk is full now and then', () => {
    let [written, refused] = [0, 0]
    compare(() => {
      const isFull = (n: number): boolean => {
        if (n % 7 < 5) written++
        else refused++
        return n % 7 >= 5
      }
      const pages = { rowsPerPage: 16, heldMax: 2 }
      return new Entries(new TouchNames(), () => new MemoryScratch(isFull), { rows: pages, links: pages })
    })
    assert.ok(written > 1_000 && refused > 300, `${written} pages were written, ${refused} could not be`)
  })

  function compare(empty: () => Entries): void {
    let most = 0
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20, size: 'max' }), (steps) => {
        const entries = empty()
        const model: NewEntry[] = []
        const gone = new Set<string>()
        for (const one of steps) {
          if ('add' in one) {
            for (const item of one.add) {
              if (model.some((held) => held.hash === item.hash)) continue
              assert.equal(entries.add(item).index, model.length)
              model.push({ ...item })
              gone.delete(item.hash)
            }
          } else if ('cut' in one) {
            const length = Math.ceil(one.cut * model.length)
            for (const { hash: lost } of model.splice(length)) gone.add(lost)
            entries.cut(length)
          } else if (model.length > 0) {
            const index = Math.floor(one.change * model.length)
            const [held, item] = [
              entries.at(index) as Entry,
              model[index] as { -readonly [K in keyof NewEntry]: NewEntry[K] }
            ]
            held.valid = item.valid = one.valid
            held.offset = item.offset = one.offset
            if (one.forbidden != null) held.forbid((item.forbidden = one.forbidden))
            if (one.isDone) {
              held.read()
              held.dropBytes()
              item.operations = item.bytes = null
            }
          }
          most = Math.max(most, model.length)
        }
        assert.equal(entries.length, model.length)
        assert.deepEqual(
          entries.slice(0).map((held) => ({ ...told(held), index: held.index })),
          model.map((item, index) => ({ ...item, index }))
        )
        for (const [index, item] of model.entries()) {
          assert.equal(entries.get(item.hash)?.index, index)
          assert.equal(entries.at(index - model.length)?.hash, item.hash)
        }
        for (const lost of gone) assert.equal(entries.get(lost), undefined)
        const isFit = ({ valid }: { valid: boolean }): boolean => valid
        assert.equal(entries.findLast(isFit)?.index ?? -1, model.findLastIndex(isFit))
        assert.equal(entries.find(isFit)?.index ?? -1, model.findIndex(isFit))
      }),
      { seed: 25, numRuns: 60, endOnFailure: true }
    )
    assert.ok(most > 600, `only ${most} at once`)
  }

  it('are of no hash that is none', () => {
    const entries = new Entries(new TouchNames())
    for (const text of ['', '00', 'x'.repeat(64), '0'.repeat(64), `${'0'.repeat(62)}zz`]) {
      assert.equal(entries.get(text), undefined)
    }
    assert.equal(entries.at(0), undefined)
    assert.equal(entries.at(-1), undefined)
  })

  it('know their authors and kinds by their actors', () => {
    const entries = new Entries(new TouchNames())
    const [template] = fc.sample(entry, { seed: 1, numRuns: 1 }) as [NewEntry]
    const kinds = ACTORS.map((actor, i) => {
      const { kind, authorId } = entries.add({ ...template, actor, hash: i.toString(16).padStart(64, '0') })
      return [kind, authorId]
    })
    const [one, two] = [signer(1).peerId, signer(2).peerId]
    assert.deepEqual(kinds, [
      ['change', one],
      ['auth', one],
      ['change', two],
      ['kind-9', two]
    ])
  })
})
