import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { createMarks } from '../../src/dataplane/marks.ts'

describe('marks', () => {
  it('stay within their mask and are all different', () => {
    for (const mask of [0xff000000, 0x00ff0000, 0xf000, 0x3000]) {
      const marks = createMarks({ mask })
      const values = [
        marks.bypass,
        marks.tproxy,
        ...Array.from({ length: marks.tunnelsMax }, (_, i) => marks.tunnel(i + 1))
      ]
      assert.equal(new Set(values).size, values.length)
      for (const value of values) assert.equal(((value & ~mask) >>> 0) + Number(value === 0), 0, value.toString(16))
      assert.equal((marks.keep | mask) >>> 0, 0xffffffff)
    }
    assert.equal(createMarks().tunnelsMax, 253)
    assert.equal(createMarks().tunnel(253), 0xff000000)
  })

  it('refuse a mask that is empty, has holes or is too narrow', () => {
    for (const mask of [0, 0xf0f0, 0x1000]) assert.throws(() => createMarks({ mask }), RangeError)
  })
})
