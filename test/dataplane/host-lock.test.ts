import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import { lockHost } from '../../src/dataplane/host-lock.ts'
import { UnavailableError } from '../../src/errors.ts'

describe('dataplane: one data plane per host', () => {
  it('the second one learns who has the lock, and gets it when that one lets go', async () => {
    const first = await lockHost('/var/lib/first', systemClock)
    try {
      await assert.rejects(lockHost('/var/lib/second', systemClock), (error) => {
        assert.ok(error instanceof UnavailableError)
        assert.match(error.message, new RegExp(`pid ${process.pid} .*/var/lib/first.*--dataplane none`))
        return true
      })
    } finally {
      await first.release()
    }
    const second = await lockHost('/var/lib/second', systemClock)
    await second.release()
  })
})
