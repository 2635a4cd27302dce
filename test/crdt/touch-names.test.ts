import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { KINDS, type Kind } from '../../src/crdt/document.ts'
import { GoneRecords } from '../../src/crdt/gone-records.ts'
import { TouchNames } from '../../src/crdt/touch-names.ts'

const ULID = '01J8ZQ0000'
/** Few and many, such as records have and such as nobody gives them. */
const id = fc.oneof(
  fc.nat({ max: 2_000 }).map((n) => ULID + n.toString().padStart(16, '0')),
  fc.nat({ max: 300 }).map((n) => `12D3KooW${n.toString().padStart(44, 'x')}`),
  fc.constantFrom(
    '',
    'x',
    '__proto__',
    'constructor',
    'é',
    '\ud800',
    '\ud801',
    ULID.padEnd(26, 'i'),
    ULID.padEnd(26, 'I')
  ),
  fc.string({ unit: 'binary', maxLength: 30 })
)
const name = fc.tuple(fc.constantFrom<Kind>(...KINDS), id)

describe('the names of records that were touched', function () {
  this.timeout(60_000)

  it('have the numbers that a list of them would give, whatever they are', () => {
    let most = 0
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('number', 'number', 'find', 'at'), name), { maxLength: 1_500, size: 'max' }),
        (steps) => {
          const names = new TouchNames()
          const model: Array<readonly [Kind, string]> = []
          const numbers = new Map<string, number>()
          const known = (kind: Kind, text: string): number => numbers.get(`${kind}/${text}`) ?? -1
          for (const [step, [kind, text]] of steps) {
            if (step === 'number') {
              if (known(kind, text) < 0) numbers.set(`${kind}/${text}`, model.push([kind, text]) - 1)
              assert.equal(names.numberOf(kind, text), known(kind, text))
            } else if (step === 'find') assert.equal(names.find(kind, text), known(kind, text))
            else if (model.length > 0) {
              const number = text.length % model.length
              const [of, is] = model[number] as [Kind, string]
              assert.deepEqual(names.at(number), { kind: of, id: is })
            }
          }
          for (const [number, [kind, text]] of model.entries()) {
            assert.deepEqual(names.at(number), { kind, id: text })
            assert.equal(names.find(kind, text), number)
          }
          most = Math.max(most, model.length)
        }
      ),
      { seed: 45, numRuns: 60 }
    )
    assert.ok(most > 500, `only ${most} at once`)
  })

  it('are of the kinds that are known here', () => {
    const names = new TouchNames()
    assert.equal(names.find('gadgets' as Kind, 'x'), -1)
    assert.throws(() => names.numberOf('gadgets' as Kind, 'x'), MalformedError)
    assert.equal(names.numberOf('services', 'x'), 0)
  })
})

describe('records that are gone', () => {
  it('are what a map of their numbers holds', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 5_000 }), fc.nat({ max: 0xffff_fffe }))), (all) => {
        const gone = new GoneRecords()
        const model = new Map<number, number>()
        for (const [record, row] of all) {
          gone.set(record, row)
          model.set(record, row)
        }
        assert.deepEqual(new Map(gone), model)
        for (const [record] of all) assert.equal(gone.get(record), model.get(record))
        assert.equal(gone.get(5_001), -1)
      })
    )
  })
})
