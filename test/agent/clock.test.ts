import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'

describe('the system clock', () => {
  it('waits however long it is told to, and not for a moment where that is more than node can count', async () => {
    const days = 400 * 86_400_000
    const ended = new AbortController()
    let fired = 0
    const timers = [systemClock.after(days, () => fired++), systemClock.every(days, () => fired++)]
    const slept = systemClock.sleep(days, { signal: ended.signal }).then(
      () => fired++,
      () => {}
    )
    await systemClock.sleep(50)
    ended.abort()
    await slept
    for (const timer of timers) timer.cancel()
    assert.equal(fired, 0)
  })
})
