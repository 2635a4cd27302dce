import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { measure } from '../../bench/convergence.ts'

describe('sim: light peers', function () {
  this.timeout(240_000)
  this.slow(30_000)

  it('bring a change to each of 40, over a wire that loses a fifth of the messages, the same way each time', async () => {
    const [one, again] = [await measure('light', 40, 0.2, 5), await measure('light', 40, 0.2, 5)]
    const virtual = ({ p50, p99, last }: typeof one): number[] => [p50, p99, last]
    assert.deepEqual(virtual(one), virtual(again))
    assert.ok(one.p50 > 0 && one.p50 <= one.p99)
    // Gossip by another way or anti-entropy, twice at most.
    assert.ok(one.last < 15_000, `the last peer had it after ${one.last} ms`)
  })

  it('and so do whole agents', async () => {
    const { p50, last } = await measure('whole', 4, 0, 3)
    assert.ok(p50 > 0 && last < 1_000, `${p50} ${last}`)
  })
})
