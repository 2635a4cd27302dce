import assert from 'node:assert/strict'
import { stallTickMs, stallWarnMs } from '../../src/actors/limits.ts'
import { StallWatch } from '../../src/actors/stall.ts'
import type { Clock, Timer } from '../../src/clock.ts'
import { FakeLog } from './fakes/log.ts'

/** A clock whose one timer fires as late as a test says. */
class LateClock {
  at = 0
  fn: (() => void) | null = null
  monotonic = (): number => this.at
  after = (_ms: number, fn: () => void): Timer => {
    this.fn = fn
    return { cancel: () => void (this.fn = null) }
  }
  tick(lateMs: number): void {
    this.at += stallTickMs + lateMs
    this.fn?.()
  }
}

describe('the watch over the event loop', () => {
  it('warns once per stall, with how long it was', () => {
    const clock = new LateClock()
    const log = new FakeLog()
    const watch = new StallWatch({ clock: clock as unknown as Clock, log })
    watch.start()
    clock.tick(3)
    clock.tick(stallWarnMs - 1)
    assert.deepEqual(log.said, [])
    clock.tick(2_000)
    clock.tick(0)
    assert.deepEqual(
      log.said.map(({ level, fields }) => [level, fields['late_ms']]),
      [['warn', 2_000]]
    )
    assert.equal(watch.stalls, 1)
    assert.equal(watch.takeWorstMs(), 2_000)
    assert.equal(watch.takeWorstMs(), 0)
    watch.stop()
    assert.equal(clock.fn, null)
  })
})
