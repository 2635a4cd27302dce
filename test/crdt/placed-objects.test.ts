import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { KINDS, type Kind } from '../../src/crdt/document.ts'
import { PlacedObjects, type PlacedRow } from '../../src/crdt/placed-objects.ts'
import { TouchIndex, type PlacedObject } from '../../src/crdt/touch.ts'

const actor = fc.constantFrom('aa'.repeat(36), 'bb'.repeat(36), 'a', '', 'no@hex')
/** Such as operations have, and such as somebody may hand over. */
const name = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.integer({ min: 1, max: 400 }), actor).map(([number, by]) => `${number}@${by}`) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('0', '01', '', '1e3', ' 1', '4294967295', '4294967296', '999999999999999', '@'), actor)
      .map(([number, by]) => `${number}@${by}`)
  },
  { weight: 1, arbitrary: fc.constantFrom('', '@', '7', '_root', '__proto__', '\ud800') }
)
const field = fc.constantFrom(null, '', 'name', 'mesh_addresses', '__proto__', 'é')

describe('objects that changes have made', function () {
  this.timeout(60_000)

  it('are what a map of them would hold, also after entries are cut off, with those that were replaced back in their places', () => {
    const met = { most: 0, replaced: 0, cut: 0 }
    const row = fc.record(
      { isMap: fc.boolean(), owner: fc.integer({ min: -1, max: 1_000 }), field },
      { noNullPrototype: true }
    )
    const made = fc.record({ make: fc.array(fc.tuple(name, row), { maxLength: 40, size: 'max' }) })
    const cut = fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }) })
    const step = fc.oneof({ weight: 6, arbitrary: made }, { weight: 1, arbitrary: cut })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
        const objects = new PlacedObjects()
        // What each entry has made; the first is what was there before.
        let entries: Array<Array<[string, Omit<PlacedRow, 'maker'>]>> = []
        const seen = new Set<string>()
        const model = (): Map<string, Omit<PlacedRow, 'maker'>> => new Map(entries.flat())
        const compare = (): void => {
          const held = model()
          const rows = Array.from({ length: objects.length }, (_, i): [string, Omit<PlacedRow, 'maker'>] => [
            objects.nameOf(i),
            { isMap: objects.isMapAt(i), owner: objects.ownerAt(i), field: objects.fieldAt(i) }
          ])
          assert.deepEqual(rows, [...held])
          const order = [...held.keys()]
          for (const one of seen) assert.equal(objects.find(one), order.indexOf(one))
          met.most = Math.max(met.most, rows.length)
        }
        for (const one of steps) {
          if ('make' in one) {
            const before = model()
            for (const [text, placed] of one.make) {
              seen.add(text)
              objects.set(text, { ...placed, maker: entries.length - 1 })
              assert.equal(objects.nameOf(objects.find(text)), text)
            }
            if (entries.length > 0 && one.make.some(([text]) => before.has(text))) met.replaced++
            entries.push(one.make)
          } else if (entries.length > 0) {
            const end = Math.floor(one.cut * entries.length)
            if (end < entries.length - 1) met.cut++
            objects.cut(end)
            entries = entries.slice(0, end + 1)
            compare()
          }
        }
        compare()
      }),
      { seed: 45, numRuns: 150 }
    )
    assert.ok(met.most > 300 && met.replaced > 300 && met.cut > 100, JSON.stringify(met))
  })

  it('are told by a snapshot as they were restored, each name once', () => {
    const owner = fc.option(fc.constantFrom('x', '', '01J8ZQ0000'.padEnd(26, '7'), '__proto__', '\ud800'))
    const object: fc.Arbitrary<PlacedObject> = fc.tuple(
      name,
      fc.constantFrom(0, 1),
      fc.option(fc.constantFrom<Kind>(...KINDS)),
      owner,
      field
    )
    fc.assert(
      fc.property(fc.array(object), (objects) => {
        const touches = new TouchIndex()
        touches.restore(objects)
        const expected = new Map(
          objects.map(([text, isMap, kind, id, of]): [string, PlacedObject] =>
            // Of no kind there is no record.
            kind == null || id == null ? [text, [text, isMap, null, null, of]] : [text, [text, isMap, kind, id, of]]
          )
        )
        assert.deepEqual([...touches.placed()], [...expected.values()])
        for (const [text, [, isMap, kind, id, of]] of expected) {
          const place = { isMap: isMap === 1, owner: kind == null || id == null ? null : { kind, id }, field: of }
          assert.deepEqual(touches.placeOf(text), place)
        }
        assert.equal(touches.placeOf('401@a'), undefined)
      })
    )
  })
})
