import assert from 'node:assert/strict'
import { createActor, fromCallback, setup, type AnyActorLogic, type EventObject } from 'xstate'
import { tidy } from '../../../src/actors/runtime/tidy.ts'

/** Logic that fails on the event `fail`, holding something that has to be released. */
function machineHolding(released: string[]): AnyActorLogic {
  return setup({
    actors: { held: fromCallback(() => () => void released.push('held')) },
    actions: {
      fail: () => {
        throw new Error('told to')
      }
    }
  }).createMachine({ invoke: { src: 'held', id: 'held' }, on: { fail: { actions: 'fail' } } })
}

const failingParts = (logic: AnyActorLogic): string => {
  const actor = createActor(logic)
  actor.subscribe({ error: () => {} })
  actor.start()
  actor.send({ type: 'fail' } as never)
  return actor.getSnapshot().status
}

describe('a tidy actor', () => {
  it('releases its children when it throws, which a bare one does not', () => {
    const [bare, tidied]: [string[], string[]] = [[], []]
    assert.equal(failingParts(machineHolding(bare)), 'error')
    assert.deepEqual(bare, [], 'if xstate mends #5153, tidy can go')
    assert.equal(failingParts(tidy(machineHolding(tidied))), 'error')
    assert.deepEqual(tidied, ['held'])
  })

  it("runs a callback's disposer when its receiver throws", () => {
    const released: string[] = []
    const logic = fromCallback<EventObject>(({ receive }) => {
      receive(() => {
        throw new Error('told to')
      })
      return () => void released.push('disposed')
    })
    assert.equal(failingParts(tidy(logic)), 'error')
    assert.deepEqual(released, ['disposed'])
  })

  it('releases what was started before an initial action threw', () => {
    const released: string[] = []
    const logic = setup({
      actors: { held: fromCallback(() => () => void released.push('held')) },
      actions: {
        fail: () => {
          throw new Error('at once')
        }
      }
    }).createMachine({
      invoke: { src: 'held', id: 'held' },
      initial: 'first',
      states: { first: { entry: 'fail' } }
    })
    const actor = createActor(tidy(logic))
    let error: unknown
    actor.subscribe({ error: (reason) => (error = reason) })
    actor.start()
    assert.equal((error as Error).message, 'at once')
    assert.equal(actor.getSnapshot().status, 'error')
    const held = (actor.getSnapshot() as unknown as { children: Record<string, { getSnapshot(): { status: string } }> })
      .children['held']
    assert.notEqual(held?.getSnapshot().status, 'active')
  })

  it('goes on like a bare one when nothing fails', () => {
    const released: string[] = []
    const actor = createActor(tidy(machineHolding(released))).start()
    actor.send({ type: 'other' } as never)
    assert.equal(actor.getSnapshot().status, 'active')
    actor.stop()
    assert.deepEqual(released, ['held'])
  })
})
