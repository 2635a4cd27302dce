import { deepEqual, equal, throws } from 'node:assert/strict'
import * as fc from 'fast-check'
import { decode, encode, type Value } from '../../bench/cluster/msgpack.ts'
import { fit } from '../../bench/cluster/memory.ts'

const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.nat(),
    fc.string({ maxLength: 300 }).map((text) => Buffer.from(text).toString('latin1')),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), tie('value'), { maxKeys: 4 })
  )
}))

describe('bench: MessagePack', () => {
  it('reads what it wrote, and says where it ends', () => {
    fc.assert(
      fc.property(value, value, (first, second) => {
        const one = encode(first)
        const read = decode(Buffer.concat([one, encode(second)]))
        equal(read?.end, one.length)
        deepEqual(JSON.stringify(read?.value), JSON.stringify(first))
      })
    )
  })

  it('waits for a value that is not whole', () => {
    fc.assert(
      fc.property(value, fc.nat(), (all, cut) => {
        const bytes = encode(all)
        equal(decode(bytes.subarray(0, cut % bytes.length)), null)
      })
    )
  })

  it('reads the short forms, which serf writes', () => {
    deepEqual(decode(Buffer.from('81a161930102a162', 'hex'))?.value, { a: [1, 2, 'b'] })
    throws(() => decode(Buffer.of(0xc1)), /0xc1/)
  })
})

describe('bench: the line through points', () => {
  it('has the slope of points on a line', () => {
    const line = fit([
      [1, 3],
      [2, 5],
      [4, 9]
    ])
    equal(line.slope, 2)
    equal(line.from, 3)
  })
})
