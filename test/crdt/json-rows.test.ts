import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { JsonRows, readObject, type RowsIn } from '../../src/crdt/json-rows.ts'

const SHAPE: RowsIn = { entries: true, objects: true, told: { rows: true } }

/** With all its lists in memory. */
function whole(value: unknown): unknown {
  if (value instanceof JsonRows) return [...value]
  if (typeof value !== 'object' || value == null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, whole(inner)]))
}

const read = (text: string | Buffer): unknown => whole(readObject(Buffer.from(text), SHAPE))

/** What it comes to, or that it is no JSON. */
function outcomeOf(reader: () => unknown): { value: unknown } | 'malformed' {
  try {
    return { value: reader() }
  } catch (error) {
    assert.ok(error instanceof MalformedError, String(error))
    return 'malformed'
  }
}

function parsed(bytes: Buffer): { value: unknown } | 'malformed' {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value != null && !Array.isArray(value) ? { value } : 'malformed'
  } catch {
    return 'malformed'
  }
}

/** Texts with quotes, escapes, brackets and what takes several bytes. */
const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(fc.constantFrom('"', '\\', '[', ']', '{', '}', ',', ':', 'é', '😀', '\u2028', '\n', '\ud800', 'a'))
    .map((all) => all.join(''))
)
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    texts,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(null, true, false, -0, 1e300),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(texts, tie('value'), { maxKeys: 3 })
  )
})).value
const heads = fc.record(
  {
    entries: fc.oneof(fc.array(values), values),
    objects: fc.array(values),
    told: fc.oneof(
      fc.record({ rows: fc.array(values), left: values, ['__proto__']: values }, { requiredKeys: [] }),
      values
    ),
    cluster: values,
    ['a "key" \\ é']: values
  },
  { requiredKeys: [] }
)

describe('a JSON object whose lists are read row by row', () => {
  it('comes to what JSON.parse makes of it, with space anywhere', () => {
    fc.assert(
      fc.property(heads, fc.constantFrom(undefined, 1, '\t'), (head, space) => {
        const text = JSON.stringify(head, null, space)
        assert.deepEqual(read(text), JSON.parse(text))
      }),
      { numRuns: 1_000 }
    )
  })

  it('cut off or changed in any byte it is refused where JSON.parse refuses it, and the same where not', () => {
    const changes = fc.array(
      fc.tuple(
        fc.nat(),
        fc.oneof(fc.constantFrom(...Buffer.from('"\\[]{},: 0e-tnu')), fc.integer({ min: 0, max: 255 }))
      ),
      { minLength: 1, maxLength: 3 }
    )
    const met = { malformed: 0, read: 0 }
    fc.assert(
      fc.property(heads, changes, fc.option(fc.nat()), (head, changed, cut) => {
        const bytes = Buffer.from(JSON.stringify(head))
        for (const [at, byte] of changed) bytes[at % bytes.length] = byte
        const damaged = cut == null ? bytes : bytes.subarray(0, cut % bytes.length)
        const expected = parsed(damaged)
        assert.deepEqual(
          outcomeOf(() => read(damaged)),
          expected
        )
        met[expected === 'malformed' ? 'malformed' : 'read']++
      }),
      { numRuns: 3_000 }
    )
    assert.ok(met.malformed > 100 && met.read > 100, JSON.stringify(met))
  })

  it('knows how many rows there are, and walks them as often as it is asked', () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => [i, 'ab'.repeat(i % 60), { [`é${i}`]: [null] }])
    const { entries } = readObject(Buffer.from(JSON.stringify({ entries: rows })), SHAPE)
    assert.ok(entries instanceof JsonRows)
    assert.equal(entries.length, rows.length)
    for (let i = 0; i < 2; i++) assert.deepEqual([...entries], rows)
    const [first, other] = [entries[Symbol.iterator](), entries[Symbol.iterator]()]
    for (const row of rows) assert.deepEqual([first.next().value, other.next().value], [row, row])
  })

  it('takes the last of two values under one key, however the key is written', () => {
    assert.deepEqual(read('{"entries":[1],"entr\\u0069es":[2,3]}'), { entries: [2, 3] })
    assert.deepEqual(read('{"entries":[1],"entries":{}}'), { entries: {} })
  })

  it('refuses what is nested a million deep without a deep stack', () => {
    for (const text of ['{"entries":['.padEnd(1e6, '['), '{"told":{"rows":'.padEnd(1e6, '{"rows":'), '['.repeat(1e6)]) {
      assert.equal(
        outcomeOf(() => read(text)),
        'malformed'
      )
    }
    const deep = `{"entries":[${'['.repeat(1e5)}${']'.repeat(1e5)}]}`
    assert.equal((readObject(Buffer.from(deep), SHAPE)['entries'] as JsonRows<unknown>).length, 1)
  })
})
