import { decodeChange, encodeChange } from '@automerge/automerge'
import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { plainChunk } from '../../src/crdt/chunk.ts'
import {
  bucketOf,
  Document,
  operationsOf,
  type Applicable,
  type FieldValue,
  type Kind
} from '../../src/crdt/document.ts'
import type { MadeRecord } from '../../src/crdt/made-records.ts'
import type { Standing } from '../../src/crdt/told.ts'
import { SavedTold, toldRows, type ToldHead } from '../../src/crdt/told-saved.ts'
import { TouchIndex, type PlacedObject } from '../../src/crdt/touch.ts'
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

interface Head {
  actors: string[]
  objects: PlacedObject[]
  records: Array<[kind: Kind, id: string, value: unknown, by: number]>
  told: ToldHead
}

/** What a snapshot says of a reader, in which records are shown as they are, with their ids, as something else, or not. */
function headOf(reader: Reader, seed: number): Head {
  const actors: string[] = []
  const placeOf = (actor: string): number => (actors.includes(actor) ? actors.indexOf(actor) : actors.push(actor) - 1)
  const records = KINDS.flatMap((kind, k) =>
    IDS.flatMap((id, i): Head['records'] => {
      const value = reader.document.read(kind, id)
      const way = (seed + 5 * k + i) % 4
      if (value == null || way === 3) return []
      return [
        [kind, id, way === 0 ? value : { ...value, id: way === 1 ? id : [], ...(way === 2 ? { more: 1 } : {}) }, -1]
      ]
    })
  )
  const rows = [...toldRows(reader.touches.placed(), reader.known, records, placeOf)]
  const head = {
    actors,
    objects: [...reader.touches.placed()],
    records,
    told: { left: [...reader.known.left()].flat(), rows }
  }
  return JSON.parse(JSON.stringify(head)) as Head
}

function restarted(reader: Reader, { actors, objects, records, told }: Head): Reader {
  const touches = indexOf(objects)
  const { left, rows } = told
  const head = { actors, objects: rowByRow(objects), records: rowByRow(records), told: { left, rows: rowByRow(rows) } }
  return new Reader(false, { reader, touches, told: new SavedTold(head, touches) })
}

function indexOf(objects: readonly PlacedObject[]): TouchIndex {
  const touches = new TouchIndex()
  touches.restore(rowByRow(objects))
  return touches
}

/** As what is read from a file, and is in no list. */
const rowByRow = <T>(rows: readonly T[]): Iterable<T> => ({ [Symbol.iterator]: () => rows.values() })

/** What is told of everything, an empty list of rivals being none. */
const all = (reader: Reader): Array<Standing | null | undefined> =>
  KINDS.flatMap((kind) =>
    IDS.map((id) => {
      const told = reader.known.told(kind, id)
      if (told == null || 'gone' in told || (told.rivals?.size ?? 0) > 0) return told
      const { rivals: _, ...rest } = told
      return rest
    })
  )

let authors = 0

/** Of few records and fields, for several to write the same. */
const near: fc.Arbitrary<Wish> = fc.tuple(
  fc.constant<Kind>('services'),
  fc.constantFrom('x', 'y'),
  fc.option(
    fc.dictionary(fc.constantFrom('name', 'list'), fc.oneof(fc.nat({ max: 3 }), fc.constant<FieldValue>(['a', 'b'])), {
      minKeys: 1
    }),
    { freq: 8 }
  )
)

const BASE = IDS.map((id): Wish => ['services', id, { name: id, list: ['a'] }])

/** A change by somebody new of what records are not made of, which is numbered after all else. */
function odd(reader: Reader, dep: string, which: number): Applicable {
  const other = new Document(GENESIS, actorOf(3))
  const like = decodeChange(change(other, [['services', 'x', { name: 'x' }]]) as Uint8Array)
  other.free()
  const actor = (0x1000 + authors++).toString(16).repeat(18)
  const kind = KINDS[which % 3] as Kind
  const id = IDS[(which >> 2) % 3] as string
  const startOp = Math.max(9000, reader.last + 1)
  const standing = reader.known.told(kind, id)
  const within = { pred: [], obj: standing == null || 'gone' in standing ? bucketOf(kind, id) : standing.object }
  const ops = [
    [{ action: 'set', obj: bucketOf(kind, id), key: id, value: 'a text', pred: [] }],
    [{ action: 'makeMap', obj: bucketOf(kind, id), key: id, pred: [] }],
    [{ action: 'makeList', obj: bucketOf(kind, id), key: id, pred: [] }],
    [
      { action: 'makeMap', obj: '_root', key: 'gadgets', pred: [] },
      { action: 'makeMap', obj: `${startOp}@${actor}`, key: 'first', pred: [] },
      { action: 'set', obj: `${startOp + 1}@${actor}`, key: 'n', value: 1, datatype: 'int', pred: [] }
    ],
    [
      { action: 'makeMap', ...within, key: 'of tomorrow' },
      { action: 'set', obj: `${startOp}@${actor}`, key: 'deep', value: true, pred: [] }
    ],
    [{ action: 'set', ...within, key: 'of tomorrow', value: 'green' }]
  ][which % 6]
  const made = { ...like, actor, startOp, deps: [dep], ops }
  delete (made as { hash?: unknown }).hash
  return named(plainChunk(encodeChange(made as never)))
}

describe('what a snapshot says of who has set what', function () {
  this.timeout(240_000)

  it('goes on as if there had been no start: what is told is what Automerge shows, and by whom it was set', () => {
    const met = { told: 0, asked: 0, gone: 0, beside: 0, starts: 0, wholeStarts: 0 }
    const events = ['nothing', 'nothing', 'start', 'start', 'start', 'start', 'odd', 'invalid'] as const
    const step = fc.tuple(
      fc.nat({ max: 2 }),
      fc.boolean(),
      fc.array(fc.oneof({ arbitrary: wish, weight: 1 }, { arbitrary: near, weight: 6 }), {
        minLength: 1,
        maxLength: 3
      }),
      fc.constantFrom(...events),
      fc.nat({ max: 1000 })
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 4, maxLength: 14 }), (steps) => {
        const sides = [0, 1, 2].map((n) => new Document(GENESIS, actorOf(n)))
        // Of one the document is both readers'.
        const twin = new Reader(true)
        let reader = restarted(twin, headOf(twin, 0))
        const changes: Applicable[] = []
        const heard = sides.map(() => new Set<Applicable>())
        const take = (one: Applicable): void => {
          changes.push(one)
          twin.take(one)
          reader.read(one)
        }
        try {
          // What all of them know.
          const first = named(change(sides[0] as Document, BASE) as Uint8Array)
          for (const has of heard) has.add(first)
          for (const other of sides.slice(1)) other.apply([first])
          take(first)
          for (const [by, hears, wishes, event, seed] of steps) {
            const [author, has] = [sides[by] as Document, heard[by] as Set<Applicable>]
            if (event === 'start') {
              const head = headOf(reader, seed)
              reader = restarted(reader, head)
              met.starts++
              if (head.told.left.length === 0) met.wholeStarts++
              const standing = all(reader)
              met.gone += standing.filter((one) => one != null && 'gone' in one).length
              met.beside += standing.filter((one) => one != null && 'rivals' in one).length
            }
            const [dep] = twin.document.heads().keys()
            if (event === 'odd' && dep != null) take(odd(twin, dep, seed))
            if (event === 'invalid') {
              // Its objects are remembered, and nothing else of it.
              const outsider = new Document(GENESIS, actorOf(40 + seed))
              const chunk = change(outsider, wishes)
              outsider.free()
              if (chunk != null)
                for (const { touches } of [twin, reader]) touches.add(operationsOf(chunk).list, 'nobody', 0)
              continue
            }
            const made = written(author, has, hears ? changes : [], wishes)
            if (made == null) continue
            take(made)
            assert.deepEqual(all(reader), all(twin))
            const { told, asked } = reader.compare()
            met.told += told
            met.asked += asked
          }
        } finally {
          for (const document of [...sides, twin.document]) document.free()
        }
      }),
      { seed: 37, numRuns: 400 }
    )
    const [told, beside, gone, starts, whole] = [met.told, met.beside, met.gone, met.starts, met.wholeStarts]
    assert.ok(told > 5_000 && met.asked > 500 && beside > 50 && gone > 200, JSON.stringify(met))
    assert.ok(starts > 300 && whole > 100 && whole < starts, JSON.stringify(met))
  })

  /** Two authors: a record that both have written, one that is gone, one that is left to Automerge. */
  function lived(): { reader: Reader; head: Head } {
    const [one, two] = [new Document(GENESIS, actorOf(1)), new Document(GENESIS, actorOf(2))]
    const reader = new Reader(true)
    const write = (author: Document, wishes: readonly Wish[]): Applicable => {
      const made = named(change(author, wishes) as Uint8Array)
      reader.take(made)
      return made
    }
    const [x, y, z] = IDS as [string, string, string]
    two.apply([
      write(
        one,
        [x, y].map((id): Wish => ['services', id, { name: id, list: ['a', 'b'] }])
      )
    ])
    write(one, [
      ['services', x, { name: 'one' }],
      ['services', y, null],
      ['routes', z, { name: 'one' }]
    ])
    write(two, [
      ['services', x, { name: 'two', b: null }],
      ['routes', z, { name: 'two' }]
    ])
    one.free()
    two.free()
    return { reader, head: headOf(reader, 0) }
  }

  it('is small: a record that is shown is not said twice, nor who has written most of it', () => {
    const { reader, head } = lived()
    const shown = { ...(reader.document.read('services', 'x') as object), id: 'x' }
    const row = [...toldRows(head.objects, reader.known, [['services', 'x', shown, -1]], () => 7)].find(Array.isArray)
    const { setBy, rivals } = reader.known.told('services', 'x') as MadeRecord
    const numberOf = (name = ''): number => Number(name.split('@')[0])
    const [rival] = rivals?.get('name') ?? []
    // In the order of their names: b and name are by the other author, list is by the one who has made the record.
    const by = [[numberOf(setBy['b']), 7], 2, [numberOf(setBy['name']), 7]]
    assert.deepEqual(row, [1, by, [['name', [[numberOf(rival?.by), 7, 'one']]]]])
    reader.document.free()
  })

  it('is not taken in another form', () => {
    const { reader, head } = lived()
    assert.deepEqual(all(restarted(reader, head)), all(reader))
    const place = head.told.rows.findIndex((row) => Array.isArray(row) && row.length === 3)
    const wrong: Array<(told: ToldHead, row: unknown[]) => void> = [
      ({ rows }) => void rows.pop(),
      ({ rows }) => void rows.push(1),
      ({ rows }) => void rows.push(0),
      ({ rows }) => void (rows[0] = 2 as never),
      ({ rows }) => void (rows[0] = null as never),
      (told) => void (told.rows = {} as never),
      (told) => void (told.rows = '' as never),
      (told) => void (told.left = null as never),
      ({ left }) => void left.push('services'),
      ({ left }) => void left.push('gadgets', 'x'),
      ({ left }) => void left.push('services', 'x'),
      ({ left }) => void left.push('services', 7 as never),
      (_, row) => void (row[0] = null),
      (_, row) => void (row[0] = []),
      (_, row) => void (row[0] = 2),
      (_, row) => void (row[0] = { name: 'x' }),
      (_, row) => void (row[0] = { name: 'x', b: { deep: 1 }, list: [] }),
      (_, row) => void (row[0] = { name: 'x', b: [[]], list: [] }),
      (_, row) => void (row[1] = 3),
      (_, row) => void (row[1] = [1, 2]),
      (_, row) => void (row[1] = [1, 2, 0.5]),
      (_, row) => void (row[1] = [1, 2, -1e6]),
      (_, row) => void (row[1] = [1, 2, [1, 99]]),
      (_, row) => void (row[1] = [1, 2, [1, 'length']]),
      (_, row) => void (row[1] = [1, 2, [0, 0]]),
      (_, row) => void (row[2] = 'no'),
      (_, row) => void (row[2] = [['name', []]]),
      (_, row) => void (row[2] = [['other', [[1, 0, 'x']]]]),
      (_, row) => void (row[2] = [['name', [[1, 0, {}]]]]),
      (_, row) => void (row[2] = [['name', [[1, 99, 'x']]]])
    ]
    for (const [n, spoil] of wrong.entries()) {
      const spoilt = structuredClone(head)
      spoil(spoilt.told, spoilt.told.rows[place] as unknown[])
      assert.throws(() => new SavedTold(spoilt, indexOf(spoilt.objects)), MalformedError, `${n}`)
    }
    reader.document.free()
  })

  it('is not taken of an object that is said to be two', () => {
    const { reader, head } = lived()
    const gone = head.objects.find(([, , kind, id, field]) => kind === 'services' && id === 'y' && field === null)
    const [name] = gone ?? assert.fail('nothing is gone')
    for (const id of ['y', 'z']) {
      const spoilt = structuredClone(head)
      spoilt.objects.push([name, 1, 'services', id, null])
      spoilt.told.rows.push(0)
      assert.throws(() => restarted(reader, spoilt), MalformedError, id)
    }
    reader.document.free()
  })
})
