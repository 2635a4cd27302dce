import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { createActor, fromCallback, setup, type Actor, type AnyActorLogic } from 'xstate'
import { fromPool } from '../../../src/actors/runtime/pool.logic.ts'
import {
  childOf,
  childrenOf,
  fromSupervisor,
  type SupervisorLogic
} from '../../../src/actors/runtime/supervisor.logic.ts'
import { FakeClock } from '../fakes/clock.ts'

/** Counts what is held: each live actor holds one thing. */
class Held {
  count = 0
  started = 0

  logic(): AnyActorLogic {
    return setup({
      types: { context: {} as { n: number }, input: {} as { n: number } },
      actors: {
        thing: fromCallback(() => {
          this.count++
          this.started++
          return () => {
            this.count--
          }
        })
      },
      actions: {
        fail: () => {
          throw new Error('told to')
        }
      }
    }).createMachine({
      context: ({ input }) => ({ n: input.n }),
      invoke: { src: 'thing', id: 'thing' },
      initial: 'open',
      states: {
        open: { on: { fail: { actions: 'fail' }, end: 'ended' } },
        ended: { type: 'final' }
      }
    })
  }
}

const events = (supervisor: Actor<SupervisorLogic>): string[] => {
  const seen: string[] = []
  supervisor.on('*', (event) => seen.push(`${event.type} ${event.id}`))
  return seen
}

describe('a supervisor', () => {
  const policy = { intensity: 2, windowMs: 60_000, minMs: 100, maxMs: 1_000 }

  it('starts a failed child again with its input, after a growing while, and leaves the others alone', async () => {
    const clock = new FakeClock()
    const held = new Held()
    const supervisor = createActor(fromSupervisor({ clock, logics: { thing: held.logic() }, policy })).start()
    const seen = events(supervisor)
    supervisor.send({ type: 'child.start', id: 'thing:a', input: { n: 1 } })
    supervisor.send({ type: 'child.start', id: 'thing:b', input: { n: 2 } })
    const other = childOf(supervisor, 'thing:b')
    childOf(supervisor, 'thing:a')!.send({ type: 'fail' })
    assert.equal(childOf(supervisor, 'thing:a'), null)
    assert.equal(held.count, 1, 'what it held is released')
    await clock.advance(99)
    assert.equal(childOf(supervisor, 'thing:a'), null)
    await clock.advance(1)
    assert.equal(childOf(supervisor, 'thing:a')?.getSnapshot().context.n, 1)
    childOf(supervisor, 'thing:a')!.send({ type: 'fail' })
    await clock.advance(199)
    assert.equal(childOf(supervisor, 'thing:a'), null)
    await clock.advance(1)
    assert.notEqual(childOf(supervisor, 'thing:a'), null)
    assert.equal(childOf(supervisor, 'thing:b'), other)
    assert.deepEqual(seen, [
      'child.started thing:a',
      'child.started thing:b',
      'child.failed thing:a',
      'child.restarted thing:a',
      'child.failed thing:a',
      'child.restarted thing:a'
    ])
    supervisor.stop()
    assert.equal(held.count, 0)
    assert.equal(clock.pending, 0)
  })

  it('escalates when a child fails too often: it ends itself and all of its children', async () => {
    const clock = new FakeClock()
    const held = new Held()
    const supervisor = createActor(fromSupervisor({ clock, logics: { thing: held.logic() }, policy }))
    let error: unknown
    supervisor.subscribe({ error: (reason) => (error = reason) })
    supervisor.start()
    supervisor.send({ type: 'child.start', id: 'thing:a', input: { n: 1 } })
    supervisor.send({ type: 'child.start', id: 'thing:b', input: { n: 2 } })
    for (let i = 0; i < 3; i++) {
      childOf(supervisor, 'thing:a')?.send({ type: 'fail' })
      await clock.advance(1_000)
    }
    assert.equal(supervisor.getSnapshot().status, 'error')
    assert.match((error as Error).message, /thing:a failed more than 2 times/)
    assert.equal(held.count, 0)
    assert.equal(clock.pending, 0)
  })

  it('lets a parent machine decide when it escalates', async () => {
    const clock = new FakeClock()
    const held = new Held()
    const parent = createActor(
      setup({
        actors: {
          children: fromSupervisor({ clock, logics: { thing: held.logic() }, policy: { ...policy, intensity: 0 } })
        }
      }).createMachine({
        invoke: { src: 'children', id: 'children' },
        initial: 'running',
        states: { running: { on: { 'xstate.error.actor.*': 'failed' } }, failed: {} }
      })
    ).start()
    const children = parent.getSnapshot().children['children']!
    children.send({ type: 'child.start', id: 'thing:a', input: { n: 1 } })
    childOf(children, 'thing:a')!.send({ type: 'fail' })
    assert.equal(parent.getSnapshot().value, 'failed')
    assert.equal(parent.getSnapshot().status, 'active')
    parent.stop()
  })

  it('forgets a child that ends well, and replaces one of the same id', () => {
    const clock = new FakeClock()
    const held = new Held()
    const supervisor = createActor(fromSupervisor({ clock, logics: { thing: held.logic() }, policy })).start()
    supervisor.send({ type: 'child.start', id: 'thing:a', input: { n: 1 } })
    supervisor.send({ type: 'child.start', id: 'thing:a', input: { n: 2 } })
    assert.equal(held.count, 1)
    assert.equal(childOf(supervisor, 'thing:a')?.getSnapshot().context.n, 2)
    childOf(supervisor, 'thing:a')!.send({ type: 'end' })
    assert.deepEqual(childrenOf(supervisor), [])
    assert.equal(held.count, 0)
    supervisor.stop()
  })
})

describe('a pool', () => {
  it('quarantines a child that keeps failing and goes on with the rest', async () => {
    const clock = new FakeClock()
    const held = new Held()
    const pool = createActor(fromPool('thing', held.logic(), { clock, policy: { intensity: 1 } })).start()
    const seen = events(pool)
    pool.send({ type: 'child.start', id: 'thing:bad', input: { n: 1 } })
    pool.send({ type: 'child.start', id: 'thing:good', input: { n: 2 } })
    for (let i = 0; i < 3; i++) {
      childOf(pool, 'thing:bad')?.send({ type: 'fail' })
      await clock.advance(1_000)
    }
    assert.equal(pool.getSnapshot().status, 'active')
    assert.deepEqual(
      childrenOf(pool)?.map((child) => child.id),
      ['thing:good']
    )
    assert.equal(seen.at(-1), 'child.gaveUp thing:bad')
    pool.send({ type: 'child.start', id: 'thing:bad', input: { n: 3 } })
    assert.notEqual(childOf(pool, 'thing:bad'), null, 'a new start is a new chance')
    pool.stop()
    assert.equal(held.count, 0)
    assert.equal(clock.pending, 0)
  })

  it('adds and removes 10,000 children at a cost that does not grow with their number', function () {
    this.timeout(60_000)
    const clock = new FakeClock()
    const fill = (count: number): number => {
      const held = new Held()
      const pool = createActor(fromPool('thing', held.logic(), { clock })).start()
      const before = process.threadCpuUsage()
      for (let n = 0; n < count; n++) pool.send({ type: 'child.start', id: `thing:${n}`, input: { n } })
      assert.equal(held.count, count)
      for (let n = 0; n < count; n++) pool.send({ type: 'child.stop', id: `thing:${n}` })
      const { user, system } = process.threadCpuUsage(before)
      assert.equal(held.count, 0)
      pool.stop()
      return (user + system) / count
    }
    fill(1_000)
    // CPU of this thread, the best of three each: what else the machine does is not in it.
    const best = (count: number): number => Math.min(fill(count), fill(count), fill(count))
    const [few, many] = [best(1_000), best(10_000)]
    // Quadratic growth would be tenfold; what is left is garbage collection.
    assert.ok(many < few * 4, `${many.toFixed(1)} us per child among 10,000, ${few.toFixed(1)} us among 1,000`)
  })

  it('holds nothing after any mix of starts, stops, failures and ends', async () => {
    const step = fc.record({
      what: fc.constantFrom('start', 'stop', 'fail', 'end', 'wait'),
      n: fc.nat(9)
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const clock = new FakeClock()
        const held = new Held()
        const pool = createActor(fromPool('thing', held.logic(), { clock, policy: { intensity: 2 } })).start()
        for (const { what, n } of steps) {
          const id = `thing:${n}`
          if (what === 'start') pool.send({ type: 'child.start', id, input: { n } })
          else if (what === 'stop') pool.send({ type: 'child.stop', id })
          else if (what === 'wait') await clock.advance(n * 100)
          else childOf(pool, id)?.send({ type: what })
          assert.equal(held.count, childrenOf(pool)?.length)
        }
        pool.stop()
        assert.equal(held.count, 0)
        assert.equal(clock.pending, 0)
      }),
      { numRuns: 60 }
    )
  })
})
