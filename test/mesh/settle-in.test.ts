import { equal, rejects } from 'node:assert/strict'
import { ForbiddenError } from '../../src/errors.ts'
import { settleIn } from '../../src/mesh/join/settle-in.ts'
import { joinTimeoutMs } from '../../src/mesh/limits.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { FakeLog } from '../actors/fakes/log.ts'

describe('mesh: the first sync of who has joined', () => {
  const run = (attempt: () => Promise<void>, { isMember = true, clock = new FakeClock() } = {}) => ({
    clock,
    done: settleIn('inviter', attempt, {
      clock,
      log: new FakeLog(),
      isMember: () => isMember,
      signal: new AbortController().signal
    })
  })

  it('is tried again when the connection breaks', async () => {
    let tries = 0
    const { clock, done } = run(async () => {
      if (++tries < 3) throw new Error('the connection was closed')
    })
    await clock.advance(5_000)
    await done
    equal(tries, 3)
  })

  it('says, when time is up, that this peer has joined and goes on by itself', async () => {
    const { clock, done } = run(async () => {
      throw new Error('the connection was closed')
    })
    const said = rejects(done, {
      code: 'unavailable',
      message: /has joined.*the connection was closed.*goes on by itself/
    })
    await clock.advance(joinTimeoutMs + 1_000)
    await said
  })

  it('ends at once with what another try does not mend, and for who is no member any more', async () => {
    const refused = run(async () => {
      throw new ForbiddenError('no')
    })
    await rejects(refused.done, ForbiddenError)
    const out = run(
      async () => {
        throw new Error('the stream was closed')
      },
      { isMember: false }
    )
    await rejects(out.done, { code: 'unavailable' })
  })
})
