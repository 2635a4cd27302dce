import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { Document, GENESIS_OPERATIONS, operationsOf, type Applicable } from '../../src/crdt/document.ts'
import { KnownRecords } from '../../src/crdt/known-records.ts'
import { madeRecords } from '../../src/crdt/made-records.ts'
import { changeOf, noteOf } from '../../src/crdt/own-change.ts'
import { TouchIndex } from '../../src/crdt/touch.ts'
import {
  actorOf,
  change,
  GENESIS,
  IDS,
  KINDS,
  named,
  note,
  Reader,
  steps,
  wish,
  written,
  type Wish
} from './support/random-records.ts'

describe('records that are told from the changes', function () {
  this.timeout(120_000)

  for (const isWhole of [true, false]) {
    it(`are what Automerge shows, ${isWhole ? 'from the first change on' : 'from some change on'}`, () => {
      const met = { told: 0, asked: 0 }
      fc.assert(
        fc.property(steps, fc.nat({ max: 5 }), (all, first) => {
          const authors = [0, 1, 2].map((n) => new Document(GENESIS, actorOf(n)))
          const reader = new Reader(isWhole)
          const changes: Applicable[] = []
          const heard = authors.map(() => new Set<Applicable>())
          try {
            for (const [by, hears, wishes] of all) {
              const [author, has] = [authors[by] as Document, heard[by] as Set<Applicable>]
              const made = written(author, has, hears ? changes : [], wishes)
              if (made == null) continue
              changes.push(made)
              // What came before is in the document, and was not read here.
              if (!isWhole && changes.length <= first) {
                reader.document.apply([made])
                reader.touches.add(operationsOf(made.chunk).list, 'nobody', 0)
              } else reader.take(made)
              const { told, asked } = reader.compare()
              met.told += told
              met.asked += asked
            }
          } finally {
            for (const document of [...authors, reader.document]) document.free()
          }
        }),
        { seed: 11, numRuns: 300 }
      )
      assert.ok(met.told > 1_000 && met.asked > 1_000, JSON.stringify(met))
    })
  }

  it('in whatever order changes come that do not build on each other', () => {
    fc.assert(
      fc.property(fc.array(fc.array(wish, { minLength: 1, maxLength: 2 }), { minLength: 2, maxLength: 4 }), (sides) => {
        const base = new Document(GENESIS, actorOf(7))
        const start = change(
          base,
          IDS.map((id): Wish => ['services', id, { name: id, list: ['a'] }])
        )
        base.free()
        const concurrent = sides.flatMap((wishes, n) => {
          const author = new Document(GENESIS, actorOf(n))
          author.apply([named(start as Uint8Array)])
          const chunk = change(author, wishes)
          author.free()
          return chunk == null ? [] : [named(chunk)]
        })
        const shown = [concurrent, concurrent.toReversed()].map((order) => {
          const reader = new Reader(true)
          for (const one of [named(start as Uint8Array), ...order]) reader.take(one)
          reader.compare()
          const read = KINDS.map((kind) => IDS.map((id) => reader.known.read(kind, id, () => reader.document)))
          reader.document.free()
          return read
        })
        assert.deepEqual(shown[1], shown[0])
      }),
      { seed: 3, numRuns: 150 }
    )
  })

  for (const [what, late] of [
    ['removed', null],
    ['changed', { b: 'late' }]
  ] as const) {
    it(`are not taken for the one of the same name that was there before, when that is ${what} by somebody`, () => {
      const [first, second] = [new Document(GENESIS, actorOf(1)), new Document(GENESIS, actorOf(2))]
      const made = named(change(first, [['services', 'x', { name: 'first' }]]) as Uint8Array)
      second.apply([made])
      const removed = named(change(first, [['services', 'x', null]]) as Uint8Array)
      const again = named(change(first, [['services', 'x', { name: 'again' }]]) as Uint8Array)
      const beside = named(change(second, [['services', 'x', late]]) as Uint8Array)
      const reader = new Reader(true)
      for (const one of [made, removed, again, beside]) reader.take(one)
      reader.compare()
      assert.deepEqual(
        reader.known.read('services', 'x', () => reader.document),
        { name: 'again' }
      )
      for (const document of [first, second, reader.document]) document.free()
    })
  }

  it('are asked of Automerge when they stand where nobody looks for them', () => {
    const author = new Document(GENESIS, actorOf(1))
    const chunk = change(author, [['services', 'x', { name: 'x' }]]) as Uint8Array
    author.free()
    const operations = operationsOf(chunk)
    const bucket = operations.list[0]?.object ?? ''
    const [number = '', genesis = ''] = bucket.split('@')
    const elsewhere = `${Number(number) + (Number(number) % 2 === 0 ? 1 : -1)}@${genesis}`
    const list = operations.list.map((one) => (one.object === bucket ? { ...one, object: elsewhere } : one))
    const moved = { ...operations, list }
    assert.deepEqual(madeRecords(moved), [])
    const known = new KnownRecords(new TouchIndex(), { isWhole: true, operationAt: () => null })
    known.add({ operations: moved, made: [], touches: [{ kind: 'services', id: 'x' }] })
    assert.equal(
      known.standing('services', 'x', () => assert.fail('it was asked')),
      null
    )
  })
})

describe('a change that is made without a document', function () {
  this.timeout(120_000)

  it('is byte by byte the one that Automerge makes', () => {
    const met = { made: 0, nothing: 0, left: 0, said: 0 }
    const said = fc.oneof(
      { weight: 3, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }) }
    )
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.array(wish, { maxLength: 3 }), said), { maxLength: 8 }),
        (all) => {
          const [mine, other] = [new Document(GENESIS, actorOf(1)), new Document(GENESIS, actorOf(2))]
          const reader = new Reader(true)
          let [seq, last] = [0, null as string | null]
          const unheard: Applicable[] = []
          try {
            for (const [isMine, hears, wishes, message] of all) {
              if (!isMine) {
                if (hears) other.apply(unheard.splice(0))
                const chunk = message == null ? change(other, wishes) : note(other, actorOf(2), message)
                if (chunk == null) continue
                mine.apply([named(chunk)])
                reader.take(named(chunk))
                continue
              }
              const heads = reader.document.heads()
              const frame = {
                actor: actorOf(1),
                seq: seq + 1,
                start: Math.max(reader.last, GENESIS_OPERATIONS) + 1,
                deps: [...(last == null ? heads : heads.with(last, true)).keys()],
                message
              }
              const made =
                message == null
                  ? changeOf(wishes, (kind, id) => reader.known.standing(kind, id, () => reader.document), frame)
                  : noteOf(frame)
              const expected = message == null ? change(mine, wishes) : note(mine, actorOf(1), message)
              met[message != null ? 'said' : made === undefined ? 'left' : made === null ? 'nothing' : 'made']++
              if (made !== undefined) assert.deepEqual(made, expected)
              if (expected == null) continue
              seq++
              last = named(expected).hash
              reader.take(named(expected))
              unheard.push(named(expected))
            }
          } finally {
            for (const document of [mine, other, reader.document]) document.free()
          }
        }
      ),
      { seed: 21, numRuns: 400 }
    )
    assert.ok(met.made > 200 && met.left > 100 && met.nothing > 100 && met.said > 100, JSON.stringify(met))
  })
})
