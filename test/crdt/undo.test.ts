import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { Replica } from '../../src/crdt/replica.ts'
import type { ServiceRecord } from '../../src/crdt/schema.ts'
import { Bench, peerRecord, pull, serviceInput, signer } from './support.ts'

describe('crdt/undo', function () {
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
  /** Services and routes, without the time at which they last changed. */
  const records = (replica = a): unknown => {
    const { services, routes } = replica.view()
    return [[...services.values()].map((service) => ({ ...service, updated_at: '' })), [...routes]]
  }
  const make = async (name = 'web'): Promise<ServiceRecord> => {
    const service = await a.createService(serviceInput(a, b, { name }))
    await a.addRoutes(service.id, [{ dest_cidr: '10.2.0.0/24' }, { source_cidr: '10.1.0.0/24', priority: 7 }])
    return service
  }

  it('sets back what was set, and leaves alone what others set beside it', async () => {
    const { id } = await make()
    await a.updateService(id, { name: 'other', bandwidth_limit_mbps: 5 })
    const change = await newest()
    await pull(b, a)
    await b.updateService(id, { transport_type: 'kcp' })
    await pull(a, b)
    const { undone, change: by } = await a.undo(change.slice(0, 12))
    assert.equal(undone, change)
    assert.partialDeepStrictEqual(a.view().services.get(id), {
      name: 'web',
      bandwidth_limit_mbps: 0,
      transport_type: 'kcp'
    })
    assert.deepEqual(by.objects[0]?.fields['name'], { before: 'other', after: 'web' })
    assert.equal(by.id, await newest())
    assert.deepEqual((await a.history({ limit: 1 }))[0]?.objects, by.objects, 'the history tells the same')
  })

  it('brings a deleted service back with its id and its routes', async () => {
    const { id } = await make()
    const before = records()
    await a.deleteService(id)
    assert.equal(a.view().routes.size, 0)
    await a.undo(await newest())
    assert.deepEqual(records(), before)
    await pull(b, a)
    assert.deepEqual(records(b), before, 'on another peer too')
  })

  it('takes back what was made, and undone twice it is made again', async () => {
    const { id } = await make()
    const before = records()
    await a.undo(await newest())
    assert.deepEqual([a.view().services.has(id), a.view().routes.size], [true, 0])
    await a.undo(await newest())
    assert.deepEqual(records(), before)
  })

  it('refuses what was changed since, and names the field, the change and its author', async () => {
    const { id } = await make()
    await a.updateService(id, { bandwidth_limit_mbps: 5 })
    const change = await newest()
    await pull(b, a)
    await b.updateService(id, { bandwidth_limit_mbps: 9 })
    await pull(a, b)
    const later = await newest()
    await assert.rejects(a.undo(change), {
      code: 'invalid_request',
      status: 409,
      message: /service .* has bandwidth_limit_mbps 9 since by change .* of peer-2 at 20/,
      details: {
        change,
        kind: 'service',
        id,
        field: 'bandwidth_limit_mbps',
        later_change: later,
        author: b.self,
        at: (await a.history({ limit: 1 }))[0]?.at
      }
    })
    await a.undo(later)
    await a.undo(change)
    assert.equal(a.view().services.get(id)?.bandwidth_limit_mbps, 0)
  })

  it('refuses to take a service away under routes that were added since', async () => {
    const { id } = await a.createService(serviceInput(a, b))
    const made = await newest()
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    const added = await newest()
    await assert.rejects(a.undo(made), (error: { status: number; details: object }) => {
      assert.equal(error.status, 409)
      assert.partialDeepStrictEqual(error.details, { kind: 'route', id: route!.id, later_change: added })
      return true
    })
    await a.undo(added)
    await a.undo(made)
    assert.equal(a.view().services.size, 0)
  })

  it('refuses what would leave something that cannot be', async () => {
    const { id } = await a.createService(serviceInput(a, b))
    await a.updateService(id, { requires_interface: true })
    const change = await newest()
    await a.addRoutes(id, [{}])
    await assert.rejects(a.undo(change), { status: 409, message: /cannot be undone as things are: a route needs/ })
    const { id: other } = await a.createService(serviceInput(a, b))
    const [route] = await a.addRoutes(other, [{ dest_cidr: '10.0.0.0/8' }])
    await a.deleteRoute(other, route!.id)
    const deleted = await newest()
    await a.deleteService(other)
    await assert.rejects(a.undo(deleted), { status: 409, message: /service .* is deleted since by change/ })
  })

  it('does not bring back a service whose end is no member any more', async () => {
    const { id } = await make()
    await a.deleteService(id)
    const change = await newest()
    await a.revoke(b.self)
    await assert.rejects(a.undo(change), { status: 409, message: /as things are: peer .* is not a member/ })
  })

  it('sets the policy back, to none when it was the first', async () => {
    await a.setPolicy({ max_services: 5 })
    const first = await newest()
    await a.setPolicy({ max_services: 7 })
    await assert.rejects(a.undo(first), { status: 409, message: /policy cluster has max_services 7 since by change/ })
    const { change } = await a.undo(await newest())
    assert.deepEqual(a.view().policy, { max_services: 5 })
    assert.deepEqual((await a.history({ limit: 1 }))[0]?.objects, change.objects)
    await a.undo(first)
    assert.deepEqual(a.view().policy, { max_services: null })
    await a.undo(await newest())
    assert.deepEqual(a.view().policy, { max_services: 5 })
  })

  it("sets a peer's name back, unless another one has it by now, or the peer is no member any more", async () => {
    const name = a.view().members.get(b.self)!.name
    await a.renamePeer(b.self, 'north')
    const renamed = await newest()
    const { change } = await a.undo(renamed)
    assert.equal(a.view().members.get(b.self)?.name, name)
    assert.deepEqual(change.objects[0]?.fields, { name: { before: 'north', after: name } })
    await a.renamePeer(b.self, 'south')
    const again = await newest()
    await a.renamePeer(a.self, name)
    await assert.rejects(a.undo(again), { status: 409, message: /cannot be undone as things are: .*name/ })
    await a.undo(await newest())
    await a.revoke(b.self)
    await assert.rejects(a.undo(again), { status: 409, message: /not a member any more/ })
  })

  it('refuses what nobody undoes, what does not count, and what is unknown', async () => {
    const [admission] = (await a.history({})).filter(({ kind }) => kind === 'auth')
    await assert.rejects(a.undo(admission!.id), {
      code: 'invalid_request',
      status: 400,
      message: /is the admit of peer/
    })
    await a.signEpoch()
    await assert.rejects(a.undo(await newest()), { status: 400, message: /is an epoch/ })
    await a.putPeer({ ...peerRecord(a.self, 'renamed'), version: 'another' })
    await assert.rejects(a.undo(await newest()), {
      status: 400,
      message: /is about peer .*; services, routes, the policy/
    })
    await assert.rejects(a.undo('f'.repeat(64)), { code: 'not_found' })
    for (const wrong of ['', 'abc', 'nothing', '2026-01-31']) {
      await assert.rejects(a.undo(wrong), { code: 'invalid_request', status: 400 })
    }
    // What a peer writes that has not heard yet of its own revocation does not count.
    await pull(b, a)
    await a.revoke(b.self)
    await b.createService(serviceInput(b, a))
    await pull(a, b)
    await assert.rejects(a.undo(await newest(b)), { status: 409, message: /does not count/ })
  })

  it('is for admins', async () => {
    const token = a.createInvite({ ttlMs: 60_000, uses: 1, role: 'member', addresses: ['/ip4/127.0.0.1/tcp/1'] })
    const dir = await bench.dir()
    const c = await bench.open(dir, signer(3))
    await a.admit({ token, peer: c.self, name: 'c' })
    await c.adopt({ ...a.bootstrap(), token })
    await a.createService(serviceInput(a, b))
    await pull(c, a)
    await assert.rejects(c.undo(await newest()), { code: 'forbidden' })
  })

  it('of the newest change restores the records, whatever it was; undone twice it is made again', async () => {
    const cidr = fc.constantFrom('10.1.0.0/24', '10.2.0.0/16', 'fd00::/64', null)
    const step = fc.oneof(
      fc.record({ do: fc.constant('make' as const), name: fc.constantFrom('x', 'y') }),
      fc.record({ do: fc.constant('update' as const), at: fc.nat(5), limit: fc.nat(3), own: fc.boolean() }),
      fc.record({ do: fc.constant('drop' as const), at: fc.nat(5) }),
      fc.record({ do: fc.constant('route' as const), at: fc.nat(5), source: cidr, dest: cidr }),
      fc.record({ do: fc.constant('unroute' as const), at: fc.nat(5) }),
      fc.record({ do: fc.constant('reroute' as const), at: fc.nat(5), priority: fc.nat(3) }),
      fc.record({ do: fc.constant('undo' as const) })
    )
    type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
    const take = async (one: Step): Promise<void> => {
      const { services, routes } = a.view()
      const service = 'at' in one ? [...services.values()].at(one.at % Math.max(1, services.size)) : undefined
      const route = 'at' in one ? [...routes.values()].at(one.at % Math.max(1, routes.size)) : undefined
      if (one.do === 'make') await a.createService(serviceInput(a, b, { name: one.name }))
      if (one.do === 'undo') await a.undo(await newest())
      if (one.do === 'update' && service != null)
        await a.updateService(service.id, { bandwidth_limit_mbps: one.limit, requires_interface: one.own })
      if (one.do === 'drop' && service != null) await a.deleteService(service.id)
      if (one.do === 'route' && service != null)
        await a.addRoutes(service.id, [{ source_cidr: one.source, dest_cidr: one.dest }])
      if (one.do === 'unroute' && route != null) await a.deleteRoute(route.service_id, route.id)
      if (one.do === 'reroute' && route != null)
        await a.updateRoute(route.service_id, route.id, { priority: one.priority })
    }
    let undone = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), async (steps) => {
        for (const one of [{ do: 'make' as const, name: 'x' as const }, ...steps]) {
          const [before, heads] = [records(), a.view().heads.join()]
          // What cannot be done (two families, a route without CIDRs) changes nothing.
          await take(one).catch((error: { code?: string }) => assert.equal(typeof error.code, 'string'))
          if (a.view().heads.join() === heads) continue
          const after = records()
          await a.undo(await newest())
          assert.deepEqual(records(), before, JSON.stringify(one))
          await a.undo(await newest())
          assert.deepEqual(records(), after, JSON.stringify(one))
          undone++
        }
      }),
      { numRuns: 12 }
    )
    assert.ok(undone > 12, `only ${undone} changes were undone`)
  })
})
