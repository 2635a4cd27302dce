import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { decideRestart, restartPolicy } from '../../../src/actors/runtime/restarts.ts'

const policy = { ...restartPolicy, intensity: 3, windowMs: 1_000, minMs: 10, maxMs: 30 }

describe('the decision to restart', () => {
  it('doubles the delay up to its bound and gives up over the intensity', () => {
    let failures: number[] = []
    const delays = [0, 1, 2, 3].map((at) => {
      const decision = decideRestart(failures, at, policy)
      failures = decision.failures
      return decision.delayMs
    })
    assert.deepEqual(delays, [10, 20, 30, null])
  })

  it('forgets failures that are older than the window', () => {
    assert.deepEqual(decideRestart([0, 1, 2], 1_001, policy), { failures: [2, 1_001], delayMs: 20 })
  })

  it('never restarts more often than the intensity within any window', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(500), { maxLength: 60 }), (gaps) => {
        let now = 0
        let failures: number[] = []
        const restarts: number[] = []
        for (const gap of gaps) {
          now += gap
          const decision = decideRestart(failures, now, policy)
          failures = decision.failures
          if (decision.delayMs == null) break
          restarts.push(now)
          assert.ok(decision.delayMs >= policy.minMs && decision.delayMs <= policy.maxMs)
        }
        for (const at of restarts) {
          const within = restarts.filter((other) => other > at - policy.windowMs && other <= at)
          assert.ok(within.length <= policy.intensity)
        }
      })
    )
  })
})
