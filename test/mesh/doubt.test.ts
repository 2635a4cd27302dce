import { deepEqual, equal, notDeepEqual } from 'node:assert/strict'
import { describe, it } from 'mocha'
import { emptyView } from '../../src/crdt/fold.ts'
import { beatHeadsMax, doubtDepthFactor, doubtDepthMin, doubtEveryMs, doubtForgottenMs } from '../../src/mesh/limits.ts'
import { Doubt, isOtherDocument, lowered } from '../../src/mesh/sync/doubt.ts'
import { fault } from '../../sim/scenarios/scenario.ts'
import { FAULTS } from '../../sim/faults.ts'
import { World, operatorOf } from '../../sim/world.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('doubt of the version vectors', () => {
  it('asks for more each time, less often each time, and begins anew after a while', async () => {
    const clock = new FakeClock()
    const doubt = new Doubt(clock)
    equal(doubt.next(), doubtDepthMin)
    equal(doubt.next(), null)
    await clock.advance(doubtEveryMs)
    equal(doubt.next(), doubtDepthMin * doubtDepthFactor)
    await clock.advance(doubtEveryMs)
    equal(doubt.next(), null)
    await clock.advance(doubtEveryMs)
    equal(doubt.next(), doubtDepthMin * doubtDepthFactor ** 2)
    await clock.advance(doubtForgottenMs + 1)
    equal(doubt.next(), doubtDepthMin)
  })

  it('asks as if there were less of each actor', () => {
    deepEqual(lowered({ a: 20, b: 3 }, 16), { a: 4, b: 0 })
  })

  it('takes another head for another document, and another auth head for a fork in the auth log', () => {
    const view = { ...emptyView, heads: ['1', '2', 'auth'], authHead: 'auth' }
    equal(isOtherDocument(view, { heads: ['1', '2', 'auth'] }), false)
    equal(isOtherDocument(view, { heads: ['1', '2', 'other'] }), true)
    equal(isOtherDocument(view, { heads: ['1', '3', 'auth'] }), true)
    // Of more than that, a beat names the first ones only.
    equal(isOtherDocument(view, { heads: Array.from({ length: beatHeadsMax }, (_, i) => `x${i}`) }), false)
  })
})

describe('one identity on two hosts that were apart', function () {
  this.timeout(120_000)
  this.slow(20_000)

  it('is convicted even when both sides hold as much of it and nobody builds on that any more', async () => {
    const world = new World('fork')
    const heads = await world.scheduler.run(
      (async () => {
        const first = await world.found('fork')
        const copied = await world.join(first, 'admin')
        const third = await world.join(first)
        await world.scheduler.sleep(1_000)
        copied.crash('process')
        const clone = world.clone(copied)
        const heal = FAULTS.split.begin(world, fault('split', 0, 0, [[first.index, copied.index]]))
        await Promise.all([copied.boot(), clone.boot()])
        await world.scheduler.sleep(20_000)
        const ends = { source_peer_id: first.id, target_peer_id: third.id }
        await operatorOf(copied).createService({ name: 'here', ...ends })
        // The copy has found itself at another address, and written that: both are at the same number again.
        await operatorOf(copied).createService({ name: 'here too', ...ends })
        await operatorOf(clone).createService({ name: 'there', ...ends })
        await world.scheduler.sleep(2_000)
        const [one, other] = [first, third].map(({ agent }) => agent!.replica)
        deepEqual(one?.vector(), other?.vector())
        notDeepEqual(one?.view().heads, other?.view().heads)
        copied.crash('process')
        clone.crash('process')
        heal()
        await world.scheduler.sleep(30_000)
        const views = [first, third].map(({ agent }) => agent!.replica.view())
        await Promise.all([first, third].map((host) => host.stop('remove')))
        return views.map(({ heads, departed }) => ({ heads, how: departed?.get(copied.id)?.how }))
      })()
    )
    deepEqual(heads[0], heads[1])
    equal(heads[0]?.how, 'proven')
  })
})
