import assert from 'node:assert/strict'
import { createActor, setup } from 'xstate'
import { historyEndedMax, historyPerActorMax, historyTotalMax } from '../../../src/actors/limits.ts'
import { attachRecorder, recorded } from '../../../src/actors/runtime/recorded.ts'
import { FlightRecorder, type Transition } from '../../../src/actors/runtime/recorder.ts'

const step = (path: string, to = 'b'): Omit<Transition, 'at' | 'by'> => ({
  path,
  event: 'e',
  reason: null,
  from: 'a',
  to,
  status: 'active'
})

describe('the flight recorder', () => {
  it('keeps the last steps of each actor, oldest first', () => {
    const recorder = new FlightRecorder(() => 7)
    for (let i = 0; i < historyPerActorMax + 5; i++) recorder.record(step('x:1', String(i)))
    const kept = recorder.of('x:1')
    assert.equal(kept.length, historyPerActorMax)
    assert.deepEqual([kept[0]!.to, kept.at(-1)!.to, kept[0]!.at], ['5', String(historyPerActorMax + 4), 7])
    assert.equal(recorder.size, historyPerActorMax)
  })

  it('forgets who was quiet for longest when it is full, and never holds more than its bound', () => {
    const recorder = new FlightRecorder(() => 0)
    recorder.record(step('x:quiet'))
    recorder.record(step('x:busy'))
    for (let i = 0; i < historyTotalMax; i++) {
      recorder.record(step(`x:${i}`))
      if (i % 1_000 === 0) recorder.record(step('x:busy'))
    }
    assert.ok(recorder.size <= historyTotalMax)
    assert.equal(recorder.of('x:quiet').length, 0)
    assert.ok(recorder.of('x:busy').length > 1)
  })

  it('forgets of those that have ended sooner, and of nobody else for their sake', () => {
    let now = 0
    const recorder = new FlightRecorder(() => now++)
    recorder.record(step('x:alive'))
    recorder.record({ ...step('x:back'), status: 'error' })
    recorder.record(step('x:back'))
    for (let i = 0; i < historyTotalMax; i++) recorder.record({ ...step(`x:${i}`), status: 'stopped' })
    assert.ok(recorder.size > historyEndedMax * 0.9 && recorder.size <= historyEndedMax + 3, `${recorder.size} steps`)
    assert.deepEqual(
      [recorder.of('x:alive').length, recorder.of('x:back').length, recorder.of('x:0').length],
      [1, 2, 0]
    )
    assert.equal(recorder.all().length, recorder.size)
    recorder.record(step('x:alive'))
    const last = historyTotalMax - 1
    assert.deepEqual(
      recorder.latest(3).map(({ path }) => path),
      ['x:alive', `x:${last}`, `x:${last - 1}`]
    )
  })

  it('notes transitions with their cause, crashes with their reason, and nothing for an event that changes nothing', () => {
    const machine = setup({
      types: { events: {} as { type: 'go'; reason?: string } | { type: 'idle' } | { type: 'burst' } },
      actions: {
        burst: () => {
          throw new Error('burst pipe')
        }
      }
    }).createMachine({
      initial: 'a',
      states: { a: { on: { go: 'b' } }, b: { on: { burst: { actions: 'burst' } } } }
    })
    const recorder = new FlightRecorder(() => 1)
    const actor = createActor(recorded(machine), { id: 'x:1' })
    attachRecorder(actor.system, recorder)
    actor.subscribe({ error: () => {} })
    actor.start()
    actor.send({ type: 'idle' })
    assert.equal(recorder.size, 0)
    recorder.causedBy('operator', () => actor.send({ type: 'go', reason: 'Because' }))
    actor.send({ type: 'burst' })
    assert.deepEqual(recorder.of('x:1'), [
      { at: 1, by: 'operator', path: 'x:1', event: 'go', reason: 'Because', from: 'a', to: 'b', status: 'active' },
      { at: 1, by: null, path: 'x:1', event: 'burst', reason: 'burst pipe', from: 'b', to: 'b', status: 'error' }
    ])
  })
})
