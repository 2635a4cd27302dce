import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import {
  Document,
  operationsOf,
  type Applicable,
  type FieldValue,
  type Kind,
  type Operation
} from '../../src/crdt/document.ts'
import { LiveRecords } from '../../src/crdt/live-records.ts'
import type { Standing } from '../../src/crdt/told.ts'
import {
  actorOf,
  change,
  GENESIS,
  IDS,
  KINDS,
  named,
  Reader,
  wish,
  written,
  type Wish
} from './support/random-records.ts'

/** Several who write the same few records, and make them anew when they are gone. */
const near: fc.Arbitrary<Wish> = fc.tuple(
  fc.constant<Kind>('services'),
  fc.constantFrom('x', 'y'),
  fc.option(
    fc.dictionary(fc.constantFrom('name', 'list'), fc.oneof(fc.nat({ max: 3 }), fc.constant<FieldValue>(['a', 'b']))),
    {
      freq: 3
    }
  )
)

/** All of them, each after what it builds on, as `picks` choose. */
function reordered(
  changes: readonly Applicable[],
  builtOn: (one: Applicable) => string[],
  picks: number[]
): Applicable[] {
  const left = [...changes]
  const taken = new Set<string>()
  const order: Applicable[] = []
  for (let i = 0; left.length > 0; i++) {
    const ready = left.filter((one) => builtOn(one).every((hash) => taken.has(hash)))
    const next = ready[(picks[i % picks.length] ?? 0) % ready.length] as Applicable
    left.splice(left.indexOf(next), 1)
    taken.add(next.hash)
    order.push(next)
  }
  return order
}

describe('records by what nothing has replaced', function () {
  this.timeout(240_000)

  it('are what is told of them by whoever has heard of the changes, in whatever order', () => {
    const met = { records: 0, gone: 0, left: 0, otherwise: 0, never: 0 }
    const step = fc.tuple(
      fc.nat({ max: 2 }),
      fc.boolean(),
      fc.array(fc.oneof({ arbitrary: wish, weight: 1 }, { arbitrary: near, weight: 4 }), { minLength: 1, maxLength: 2 })
    )
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 3, maxLength: 14 }),
        fc.array(fc.nat(1000), { minLength: 1, maxLength: 14 }),
        (steps, picks) => {
          const authors = [0, 1, 2].map((n) => new Document(GENESIS, actorOf(n)))
          const heard = authors.map(() => new Set<Applicable>())
          const changes: Applicable[] = []
          const before = new Map<string, string[]>()
          const readers = [new Reader(true), new Reader(true)] as const
          try {
            for (const [by, hears, wishes] of steps) {
              const [author, has] = [authors[by] as Document, heard[by] as Set<Applicable>]
              const made = written(author, has, hears ? changes : [], wishes)
              if (made == null) continue
              before.set(
                made.hash,
                [...has].map(({ hash }) => hash).filter((hash) => hash !== made.hash)
              )
              changes.push(made)
            }
            for (const one of changes) readers[0].take(one)
            for (const one of reordered(changes, ({ hash }) => before.get(hash) ?? [], picks)) readers[1].take(one)
            const live = new LiveRecords(readers[0].touches, () => true)
            // Those that came last first: no order is asked for.
            for (const { chunk } of changes.toReversed()) {
              const { list, isPlain } = operationsOf(chunk)
              const touches = readers[0].touches.add(list, 'nobody', 0).touches
              live.add({ list, isPlain, start: 0, message: null }, touches)
            }
            for (const kind of KINDS) {
              for (const id of IDS) {
                const told = readers.map((reader) => reader.known.told(kind, id))
                const one = live.standing(kind, id)
                for (const each of told) agree(each, one)
                if (told.some((each) => each === null) && told.some((each) => each !== null)) met.otherwise++
                if (one === undefined) met.never++
                else if (one === null) met.left++
                else if ('goneOf' in one) met.gone++
                else met.records++
                // What can be told is what Automerge shows.
                if (one == null) continue
                const shown = readers[0].document.read(kind, id)
                assert.deepEqual('goneOf' in one ? undefined : sortedFields(one.fields), sortedFields(shown))
              }
            }
          } finally {
            for (const document of [...authors, ...readers.map((reader) => reader.document)]) document.free()
          }
        }
      ),
      { seed: 41, numRuns: 500 }
    )
    const { records, gone, left, otherwise, never } = met
    assert.ok(records > 500 && gone > 100 && left > 100 && never > 500, JSON.stringify(met))
    assert.ok(otherwise > 20, JSON.stringify(met))
  })

  const sortedFields = (fields: unknown): unknown =>
    fields == null ? undefined : Object.fromEntries(Object.entries(fields).toSorted(([a], [b]) => (a < b ? -1 : 1)))

  /** What one who has heard of all tells agrees with what is live; who leaves it to Automerge says nothing. */
  function agree(told: Standing | null | undefined, live: ReturnType<LiveRecords['standing']>): void {
    if (told === null) assert.notEqual(live, undefined)
    else if (told === undefined || live == null) assert.equal(live, told)
    else if ('gone' in told) assert.ok('goneOf' in live && live.goneOf.has(told.gone))
    else {
      assert.ok(!('goneOf' in live))
      const { rivals, ...rest } = live
      const { rivals: others, ...other } = told
      assert.deepEqual({ ...rest, setBy: { ...rest.setBy } }, { ...other, setBy: { ...other.setBy } })
      assert.deepEqual([...(rivals ?? [])].toSorted(), [...(others ?? [])].toSorted())
    }
  }

  describe("are Automerge's to tell where something was written that records are not made of:", () => {
    const one = change(new Document(GENESIS, actorOf(1)), [['services', 'x', { name: 'x', list: ['a'] }]]) as Uint8Array
    const { list: plain } = operationsOf(one)
    const [map, name] = ['makeMap', 'set'].map((action) => plain.find((op) => op.action === action)) as [
      Operation,
      Operation
    ]
    const items = plain.find(({ action }) => action === 'makeList') as Operation
    const inItems = plain.find(({ object }) => object === items.id) as Operation
    const later = (more: Partial<Operation>): Operation[] => [{ ...name, id: '9000@ab', ...more }]
    for (const [what, list, isPlain] of [
      ['a text in place of a record', later({ object: map.object, key: 'x', replaces: [] }), true],
      ['a second record', later({ object: map.object, key: 'x', action: 'makeMap', replaces: [] }), true],
      [
        'a removal of what is no record',
        later({ object: map.object, key: 'x', action: 'del', replaces: [name.id] }),
        true
      ],
      ['a removal of nothing', later({ object: map.object, key: 'x', action: 'del', replaces: [] }), true],
      ['a map in a field', later({ object: map.id, action: 'makeMap', replaces: [] }), true],
      ['a field that is taken away', later({ object: map.id, action: 'del', replaces: [name.id] }), true],
      ['a field that replaces another one', later({ object: map.id, key: 'b', replaces: [name.id] }), true],
      ['a list that is changed', later({ ...inItems, id: '9000@ab', element: inItems.id }), true],
      ['a form that is not read here', later({ object: map.id, replaces: [name.id] }), false],
      [
        'what is replaced as it should be is none of these',
        later({ object: map.id, key: 'name', replaces: [name.id] }),
        null
      ]
    ] as Array<[string, Operation[], boolean | null]>) {
      it(what, () => {
        const reader = new Reader(true)
        reader.take(named(one))
        const live = new LiveRecords(reader.touches, () => true)
        const touches = [{ kind: 'services' as const, id: 'x' }]
        live.add({ list: plain, isPlain: true, start: 0, message: null }, touches)
        assert.ok(live.standing('services', 'x') != null)
        live.add({ list, isPlain: isPlain ?? true, start: 0, message: null }, touches)
        assert.equal(live.standing('services', 'x') == null, isPlain != null)
        // And so has who follows the changes one after the other.
        reader.known.add({ operations: { list, isPlain: isPlain ?? true, start: 0, message: null }, made: [], touches })
        assert.equal(reader.known.told('services', 'x') == null, isPlain != null)
        reader.document.free()
      })
    }
  })
})
