import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { systemClock } from '../../src/clock.ts'
import type { Moment } from '../../src/crdt/past.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import type { View } from '../../src/crdt/view.ts'
import { Bench, peerRecord, pull, serviceInput, signer } from './support.ts'

describe('crdt/past', function () {
  this.timeout(60_000)
  const bench = new Bench()
  let a: Replica
  let b: Replica

  beforeEach(async () => {
    a = await bench.founder(1)
    b = await bench.joiner(a, 2)
    await pull(a, b)
  })
  afterEach(() => bench.clean())

  const newest = async (replica = a): Promise<string> => (await replica.history({ limit: 1 }))[0]!.id
  const content = ({ members, services, routes }: View): unknown => [
    [...members].sort(([x], [y]) => (x < y ? -1 : 1)),
    [...services],
    [...routes]
  ]
  const then = async (moment: Moment, replica = a): Promise<unknown> => content((await replica.past(moment)).view)
  /** The moment after everything that was written, and before anything that will be. */
  const now = async (): Promise<number> => {
    const time = systemClock.now()
    while (systemClock.now() === time) await systemClock.sleep(1)
    return time
  }
  const names = (view: View): string[] => [...view.services.values()].map(({ name }) => name)

  it('is at any change and any time what it was then, deleted things and departed members included', async () => {
    const moments: Array<{ change: string; time: number; content: unknown }> = []
    const remember = async (): Promise<void> =>
      void moments.push({ time: await now(), change: await newest(), content: content(a.view()) })
    const { id } = await a.createService(serviceInput(a, b, { name: 'one' }))
    await remember()
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.3.0.0/24' }])
    await remember()
    await a.updateService(id, { name: 'two' })
    await remember()
    await a.deleteRoute(id, route!.id)
    await remember()
    await a.setRole(b.self, 'member')
    await remember()
    await a.deleteService(id)
    await remember()
    await a.undo(await newest())
    await remember()
    await a.revoke(b.self)
    await remember()
    for (const [i, { change, time, content: expected }] of moments.entries()) {
      assert.deepEqual(await then({ time }), expected, `time ${i}`)
      assert.deepEqual(await then({ change: change.slice(0, 12) }), expected, `change ${i}`)
    }
    assert.deepEqual(content(a.view()), moments.at(-1)?.content, 'looking changes nothing')
  })

  it('holds at a change what it was made on top of, and not what came in from elsewhere meanwhile', async () => {
    const { id } = await a.createService(serviceInput(a, b, { name: 'base' }))
    await pull(b, a)
    await b.createService(serviceInput(b, a, { name: 'beside' }))
    await a.updateService(id, { name: 'on top' })
    const change = await newest()
    await pull(a, b)
    assert.deepEqual(names(a.view()).toSorted(), ['beside', 'on top'])
    assert.deepEqual(names((await a.past({ change })).view), ['on top'])
    await pull(b, a)
    assert.deepEqual(await then({ change }, b), await then({ change }), 'on every peer the same')
  })

  it('names for each record the change that had written it by then', async () => {
    const { id } = await a.createService(serviceInput(a, b))
    const made = await newest()
    const time = await now()
    await a.updateService(id, { name: 'later' })
    assert.equal((await a.past({ time })).originOf('services', id)?.id, made)
    assert.equal(a.originOf('services', id)?.id, await newest())
  })

  it('leaves out what does not count today', async () => {
    await pull(b, a)
    await a.revoke(b.self)
    await b.createService(serviceInput(b, a, { name: 'too late' }))
    const lost = await newest(b)
    await pull(a, b)
    const time = await now()
    assert.deepEqual(names((await a.past({ time })).view), [])
    await assert.rejects(a.past({ change: lost }), { status: 409, message: /does not count/ })
  })

  it('reaches behind a snapshot: what is archived is told, and undone, as if it were not', async () => {
    const dir = await bench.dir()
    let c = await bench.open(dir, signer(3), undefined, 10)
    await c.init({ name: 'archived', record: peerRecord(c.self, 'c') })
    const d = await bench.joiner(c, 4)
    await pull(c, d)
    const { id } = await c.createService(serviceInput(c, d, { name: 'early' }))
    await c.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    const change = await newest(c)
    const early = content(c.view())
    await c.deleteService(id)
    const deletion = await newest(c)
    for (let i = 0; i < 40; i++) {
      await c.putPeer(peerRecord(c.self, `c${i}`))
      await systemClock.sleep(2)
    }
    await c.close()
    assert.ok((await readdir(join(dir, 'cluster', 'archive'))).length > 0, 'nothing was archived')
    c = await bench.open(dir, signer(3), undefined, 10)
    assert.deepEqual(await then({ change }, c), early)
    await c.undo(deletion)
    assert.equal(c.view().services.get(id)?.name, 'early')
    assert.equal(c.view().routesOf.get(id)?.length, 1)
  })

  it('refuses what was never: before the cluster, to come, and changes that nobody knows', async () => {
    await assert.rejects(a.past({ time: 0 }), {
      code: 'invalid_request',
      message: /no cluster yet; it was founded at 20/
    })
    await assert.rejects(a.past({ time: systemClock.now() + 60_000 }), { code: 'invalid_request', message: /to come/ })
    await assert.rejects(a.past({ change: 'ffffffffffff' }), { code: 'not_found' })
    await assert.rejects(a.past({ change: 'ff' }), { code: 'invalid_request' })
    const c = await bench.open(await bench.dir(), signer(3))
    await assert.rejects(async () => c.past({ time: 0 }), { code: 'not_in_cluster' })
    const time = systemClock.now() + 50
    await assert.rejects(a.past({ time }), { code: 'invalid_request' })
    while (systemClock.now() <= time) await systemClock.sleep(5)
    assert.equal((await a.past({ time })).view.members.size, 2, 'a refusal is not remembered')
  })

  it('is the same after any run of changes by two admins who hear of each other now and then', async () => {
    const step = fc.record({
      by: fc.boolean(),
      what: fc.constantFrom('make', 'update', 'drop', 'route', 'record', 'pull'),
      at: fc.nat(5)
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        const seen = new Map<string, unknown>()
        for (const { by, what, at } of steps) {
          const [me, other] = by ? [a, b] : [b, a]
          const services = [...me.view().services.values()]
          const service = services[at % Math.max(1, services.length)]
          const before = me.view().heads.join()
          if (what === 'make') await me.createService(serviceInput(me, other))
          else if (what === 'record') await me.putPeer(peerRecord(me.self, `peer ${at} ${by}`))
          else if (what === 'pull') await pull(me, other)
          else if (service == null) continue
          else if (what === 'update') await me.updateService(service.id, { bandwidth_limit_mbps: at })
          else if (what === 'drop') await me.deleteService(service.id)
          else await me.addRoutes(service.id, [{ dest_cidr: '10.0.0.0/8', priority: at }])
          // A change is made on top of all that its author holds.
          const own = me.view().heads.join() !== before && what !== 'pull'
          if (own) seen.set((await me.history({ author: me.self, limit: 1 }))[0]!.id, content(me.view()))
        }
        await pull(a, b)
        for (const [change, expected] of seen) assert.deepEqual(await then({ change }), expected, change)
      }),
      { numRuns: 8 }
    )
  })
})
