import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { createActor, fromCallback, setup, spawnChild, type AnyActorLogic, type AnyActorRef } from 'xstate'
import { FlightRecorder } from '../../../src/actors/runtime/recorder.ts'
import { attachRecorder, recorded } from '../../../src/actors/runtime/recorded.ts'
import { childOf, childrenOf, fromSupervisor } from '../../../src/actors/runtime/supervisor.logic.ts'
import { xstateClock } from '../../../src/actors/runtime/xstate-clock.ts'
import { FakeClock } from '../fakes/clock.ts'

const crashesMin = 10_000
const FAULTS = ['action', 'callback', 'child', 'grandchild', 'entry', 'delayed'] as const
type Fault = (typeof FAULTS)[number]

/** What actors hold while they live, and how often they have died. */
class Books {
  held = 0
  crashes = 0

  throws = (): never => {
    this.crashes++
    throw new Error('told to')
  }

  /** Holds one thing, and throws when its parent says so. */
  thing = (): AnyActorLogic =>
    fromCallback(({ receive }) => {
      this.held++
      receive(() => this.throws())
      return () => void this.held--
    })

  /** A machine with a thing, a timer, and `depth` generations of children that have the same. */
  node(depth: number): AnyActorLogic {
    const below = depth === 0 ? null : this.node(depth - 1)
    return setup({
      types: { context: {} as object, input: {} as { failsAtStart?: boolean } },
      actors: { thing: this.thing(), ...(below == null ? {} : { below }) } as Record<string, AnyActorLogic>,
      actions: { throw: this.throws },
      delays: { soon: 50, never: 3_600_000 }
    }).createMachine({
      context: {},
      entry: [
        spawnChild('thing', { id: 'thing' }),
        ...(below == null ? [] : [spawnChild('below', { id: 'left' }), spawnChild('below', { id: 'right' })])
      ] as never,
      invoke: { src: 'thing', id: 'invoked' },
      initial: 'open',
      on: {
        action: { actions: 'throw' },
        callback: { actions: ({ self }) => self.getSnapshot().children['thing']?.send({ type: 'x' }) },
        child: { actions: ({ self }) => self.getSnapshot().children['left']?.send({ type: 'action' }) },
        grandchild: { actions: ({ self }) => self.getSnapshot().children['right']?.send({ type: 'callback' }) },
        entry: '.failing',
        delayed: '.soonFailing'
      },
      states: {
        open: { after: { never: 'failing' } },
        failing: { entry: 'throw' },
        soonFailing: { after: { soon: 'failing' } }
      }
    })
  }
}

/** How many things a live node of that depth holds: two, and those of its children. */
const thingsOf = (depth: number): number => 2 + (depth === 0 ? 0 : 2 * thingsOf(depth - 1))

const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ what: fc.constantFrom(...FAULTS), group: fc.nat(2), n: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constantFrom('start', 'stop'), group: fc.nat(2), n: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('wait'), group: fc.nat(2), n: fc.nat(40) }) }
)

describe('actors that crash', function () {
  this.timeout(120_000)

  it(`hold nothing after ${crashesMin} crashes in trees of any shape`, async () => {
    let crashes = 0
    for (let seed = 1; seed < 200; seed++) {
      await fc.assert(
        fc.asyncProperty(fc.nat(2), fc.nat(2), fc.array(step, { minLength: 200, maxLength: 300 }), async (...given) => {
          crashes += await storm(...given)
        }),
        { numRuns: 5, seed, endOnFailure: true }
      )
      if (crashes >= crashesMin) return
    }
    assert.fail(`only ${crashes} crashes`)
  })
})

async function storm(
  depth: number,
  intensity: number,
  steps: ReadonlyArray<{ what: Fault | 'start' | 'stop' | 'wait'; group: number; n: number }>
): Promise<number> {
  const clock = new FakeClock()
  const books = new Books()
  const recorder = new FlightRecorder(() => clock.now())
  const policy = { intensity: 20 + intensity, windowMs: 10_000, minMs: 10, maxMs: 200 }
  const group = fromSupervisor({ clock, logics: { node: books.node(depth) }, policy })
  const root = createActor(recorded(fromSupervisor({ clock, logics: { group }, policy })), {
    id: 'root',
    clock: xstateClock(clock)
  })
  attachRecorder(root.system, recorder)
  root.subscribe({ error: () => {} })
  root.start()
  const groups = (): AnyActorRef[] => childrenOf(root) ?? []
  for (let g = 0; g < 3; g++) root.send({ type: 'child.start', id: `group:${g}` })
  for (const { what, group: g, n } of steps) {
    // Escalated to the top: the storm is over for this tree.
    if (root.getSnapshot().status !== 'active') break
    const at = childOf(root, `group:${g}`)
    const id = `node:${n}`
    if (what === 'wait') await clock.advance(n * 10)
    else if (what === 'start') at?.send({ type: 'child.start', id, input: {} } as never)
    else if (what === 'stop') at?.send({ type: 'child.stop', id } as never)
    else {
      if (at != null && childOf(at, id) == null) at.send({ type: 'child.start', id, input: {} } as never)
      childOf(childOf(root, `group:${g}`) ?? root, id)?.send({ type: what })
    }
    const live = groups().flatMap((one) => childrenOf(one) ?? []).length
    assert.equal(books.held, live * thingsOf(depth), `${live} nodes live after ${what}`)
  }
  root.stop()
  await clock.settle()
  assert.equal(books.held, 0, 'no thing is held')
  assert.equal(clock.pending, 0, 'no timer is set')
  assert.equal(recorder.listeners, 0)
  return books.crashes
}
