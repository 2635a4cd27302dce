import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { SortedMap } from '../../src/crdt/sorted-map.ts'

const steps = fc.array(fc.record({ key: fc.nat(400).map(String), value: fc.option(fc.nat(5), { nil: undefined }) }), {
  maxLength: 900
})

function apply(map: SortedMap<number>, model: Map<string, number>, list: Array<{ key: string; value?: number }>) {
  for (const { key, value } of list) {
    if (value === undefined) {
      map = map.without(key)
      model.delete(key)
    } else {
      map = map.with(key, value)
      model.set(key, value)
    }
  }
  return map
}

describe('crdt/sorted-map', function () {
  this.timeout(60_000)
  it('is a map in the order of its keys', () => {
    fc.assert(
      fc.property(steps, fc.nat(400).map(String), (list, probe) => {
        const model = new Map<string, number>()
        const map = apply(SortedMap.empty, model, list as Array<{ key: string; value?: number }>)
        const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1))
        assert.deepEqual([...map], sorted)
        assert.equal(map.size, model.size)
        const made = SortedMap.of(model)
        assert.deepEqual([...made.without(probe), made.size], [...map.without(probe), map.size])
        assert.deepEqual([...made.with(probe, 9).differences(map)], [...map.with(probe, 9).differences(map)])
        assert.equal(map.get(probe), model.get(probe))
        assert.equal(map.has(probe), model.has(probe))
        assert.equal(
          map.ceiling(probe),
          sorted.map(([key]) => key).find((key) => key >= probe)
        )
      }),
      { numRuns: 60 }
    )
  })

  it('finds what two snapshots differ in, and leaves the older one as it was', () => {
    fc.assert(
      fc.property(steps, steps, (first, second) => {
        const model = new Map<string, number>()
        const before = apply(SortedMap.empty, model, first as Array<{ key: string; value?: number }>)
        const old = new Map(model)
        const after = apply(before, model, second as Array<{ key: string; value?: number }>)
        const found = [...after.differences(before)]
        const keys = [...new Set([...old.keys(), ...model.keys()])].sort()
        const expected = keys
          .filter((key) => old.get(key) !== model.get(key))
          .map((key) => [key, model.get(key), old.get(key)])
        assert.deepEqual(found, expected)
        assert.deepEqual(new Map(before), old)
      }),
      { numRuns: 60 }
    )
  })
})
