import assert from 'node:assert/strict'
import type { ActorJson, OperatorEvent } from '../../src/actors/operator/operator.ts'
import { connectGraceMs } from '../../src/actors/limits.ts'
import { FakeLab, type FakeAgent } from './fakes/agents.ts'
import { FakeLog } from './fakes/log.ts'
import { peerId } from './fakes/records.ts'

const flat = (tree: ActorJson): Map<string, ActorJson> =>
  new Map([[tree.path, tree] as const, ...tree.children.flatMap((child) => [...flat(child)])])
const actorsOf = async (agent: FakeAgent): Promise<Map<string, ActorJson>> => flat(await agent.actors.operator.actors())
const condition = (service: { status: { conditions: Array<{ type: string }> } }, type: string): unknown =>
  service.status.conditions.find((one) => one.type === type)

describe('actors of several agents', () => {
  let lab: FakeLab
  let a: FakeAgent
  let b: FakeAgent
  let c: FakeAgent

  beforeEach(async () => {
    lab = new FakeLab()
    a = await lab.agent('a')
    b = await lab.agent('b')
    c = await lab.agent('c')
  })

  afterEach(async () => {
    await lab.stop()
    await lab.clock.settle()
    assert.equal(lab.clock.pending, 0, 'no timer is left after stop')
    for (const { dataplane, mesh } of lab.agents.values()) {
      assert.equal(dataplane.listeners.size, 0)
      assert.equal(mesh.presenceListeners.size + mesh.reportListeners.size, 0)
    }
    assert.equal(lab.document.listeners.size, 0)
  })

  it('carries a wish made on a third peer to both endpoints and tells its way to active', async () => {
    const created = await c.actors.operator.createService({ source_peer_id: 'a', target_peer_id: 'b' })
    assert.equal(created.status.phase, 'pending')
    await lab.clock.advance(50)
    const without = await a.sees(created.id)
    assert.equal(without.status.phase, 'pending')
    assert.partialDeepStrictEqual(condition(without, 'Routes'), { status: false, reason: 'NoRoutes' })

    const [route] = await c.actors.operator.addRoutes(created.id, [{ dest_cidr: '10.2.0.0/24' }])
    assert.equal(route!.status, 'pending', 'nobody can have programmed it yet')
    await lab.clock.advance(50)
    for (const agent of [a, b, c]) assert.equal((await agent.sees(created.id)).status.phase, 'active')
    assert.equal((await c.actors.operator.listRoutes(created.id))[0]!.status, 'active')
    const outbound = a.dataplane.told.at(-1)!.outbound[0]!
    assert.equal(outbound.targetPeer, peerId('b'))
    assert.equal(outbound.spec, b.dataplane.told.at(-1)!.inbound[0]!.spec)
    assert.deepEqual(c.dataplane.told.at(-1)!.outbound, [])
  })

  it('is not active before both endpoints have it in force', async () => {
    let open = (): void => {}
    b.dataplane.gate = new Promise((resolve) => {
      open = resolve
    })
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(500)
    const waiting = await a.sees(id)
    assert.equal(waiting.status.phase, 'pending')
    assert.partialDeepStrictEqual(condition(waiting, 'SourceProgrammed'), { status: true })
    assert.partialDeepStrictEqual(condition(waiting, 'TargetProgrammed'), { status: false, reason: 'Programming' })
    await lab.clock.advance(10_000)
    const overdue = await a.sees(id)
    assert.equal(overdue.status.phase, 'degraded')
    assert.partialDeepStrictEqual(condition(overdue, 'TargetProgrammed'), { reason: 'NotProgrammed' })
    open()
    await lab.clock.advance(50)
    assert.equal((await a.sees(id)).status.phase, 'active')
  })

  it('says degraded on every peer when the target is cut off from the source, and recovers', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    lab.wire.cut(peerId('a'), peerId('b'))
    await lab.clock.advance(50)
    for (const agent of [a, c]) {
      const { status } = await agent.sees(id)
      assert.equal(status.phase, 'degraded')
      assert.partialDeepStrictEqual(condition({ status }, 'TargetReachable'), { reason: 'TargetUnreachable' })
    }
    assert.equal((await b.sees(id)).status.phase, 'degraded')
    lab.wire.heal(peerId('a'), peerId('b'))
    await lab.clock.advance(50)
    for (const agent of [a, b, c]) assert.equal((await agent.sees(id)).status.phase, 'active')
  })

  it('says which engine is down, on both endpoints, and active once it is back', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    b.dataplane.engine('tempest', 'failed')
    await lab.clock.advance(50)
    for (const agent of [a, b]) {
      const seen = await agent.sees(id)
      assert.equal(seen.status.phase, 'degraded')
      assert.partialDeepStrictEqual(condition(seen, 'TargetProgrammed'), { reason: 'EngineDown' })
    }
    assert.equal((await actorsOf(b)).get('tempest')?.state, 'failed')
    assert.deepEqual((await b.actors.operator.ready()).reasons, ['tempest is failed'])
    b.dataplane.engine('tempest', 'starting')
    b.dataplane.engine('tempest', 'ready')
    await lab.clock.advance(50)
    assert.equal((await a.sees(id)).status.phase, 'active')
    assert.equal((await actorsOf(b)).get('tempest')?.state, 'ready')
  })

  it('retries what failed, and tells a failure of the data plane as the reason', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    a.dataplane.serviceFailures.set(id, { reason: 'InterfaceConflict', message: 'eth9 exists' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    const failing = await b.sees(id)
    assert.equal(failing.status.phase, 'degraded')
    assert.partialDeepStrictEqual(condition(failing, 'SourceProgrammed'), { reason: 'InterfaceConflict' })
    const applies = a.dataplane.told.length
    a.dataplane.serviceFailures.clear()
    await lab.clock.advance(2_000)
    assert.equal(a.dataplane.told.length, applies + 1, 'one retry, which went well')
    assert.equal((await b.sees(id)).status.phase, 'active')
  })

  it('lets actors live and end with what they stand for', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    const [route] = await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    const live = await actorsOf(a)
    for (const path of ['agent', 'replica', 'node', 'netmgr', 'pegasus', 'tempest', `peer:${peerId('b')}`]) {
      assert.equal(live.get(path)?.status, 'active', path)
    }
    assert.equal(live.get(`service:${id}`)?.state, 'active')
    assert.equal(live.get(`service:${id}`)?.children[0]?.path, `route:${route!.id}`)
    assert.equal(live.get(`route:${route!.id}`)?.state, 'active')
    assert.equal(live.get(`tunnel:${peerId('b')}`)?.state, 'idle')
    assert.equal(live.get(`peer:${peerId('b')}`)?.state, 'membership.admitted, reach.reachable')
    assert.equal((await actorsOf(c)).has(`service:${id}`), false, 'a service lives at its endpoints')

    await b.actors.operator.deleteService(id)
    await assert.rejects(a.sees(id), { code: 'service_not_found' })
    await lab.clock.advance(50)
    for (const agent of [a, b]) {
      const left = [...(await actorsOf(agent)).keys()].filter((path) => /^(service|route|tunnel):/.test(path))
      assert.deepEqual(left, [])
      assert.deepEqual(agent.dataplane.told.at(-1)!.outbound, [])
      assert.equal(agent.mesh.own.size, 0)
    }
  })

  it('knows where the routes of a service stand that was deleted and came back with them, ids and all', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    const [route] = await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    const { services, routes } = lab.document
    const records = [services.get(id)!, routes.get(route!.id)!] as const
    await a.actors.operator.deleteService(id)
    await lab.clock.advance(50)
    services.set(id, records[0])
    routes.set(route!.id, records[1])
    lab.document.changed()
    await lab.clock.advance(50)
    for (const agent of [a, b]) {
      const live = await actorsOf(agent)
      assert.deepEqual([live.get(`service:${id}`)?.state, live.get(`route:${route!.id}`)?.state], ['active', 'active'])
    }
  })

  it('tells a route nothing of a change that is soon in force, and what it awaits of one that is not', async () => {
    const { operator } = a.actors
    const { id } = await operator.createService({ target_peer_id: 'b' })
    const [first] = await operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(600)
    const steps = async (): Promise<number> => (await operator.actorHistory(`route:${first!.id}`)).length
    const state = async (route = first!.id): Promise<unknown> => (await actorsOf(a)).get(`route:${route}`)?.state
    const before = await steps()
    const [second] = await operator.addRoutes(id, [{ dest_cidr: '10.3.0.0/24' }])
    await lab.clock.advance(50)
    assert.deepEqual([await state(), await state(second!.id)], ['active', 'active'])
    await lab.clock.advance(600)
    assert.equal(await steps(), before)

    let open = (): void => {}
    b.dataplane.gate = new Promise((resolve) => {
      open = resolve
    })
    await operator.addRoutes(id, [{ dest_cidr: '10.4.0.0/24' }])
    await lab.clock.advance(400)
    assert.equal(await state(), 'active')
    await lab.clock.advance(200)
    assert.equal(await state(), 'pending')
    b.dataplane.gate = null
    open()
    await lab.clock.advance(50)
    assert.equal(await state(), 'active')
  })

  it('holds a deleted service as deleting until the host has let go of it', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await lab.clock.advance(50)
    let open = (): void => {}
    a.dataplane.gate = new Promise((resolve) => {
      open = resolve
    })
    await a.actors.operator.deleteService(id)
    await lab.clock.advance(50)
    assert.equal((await actorsOf(a)).get(`service:${id}`)?.state, 'deleting')
    open()
    await lab.clock.advance(50)
    assert.equal((await actorsOf(a)).has(`service:${id}`), false)
  })

  it('tells each change once, in order', async () => {
    const events: OperatorEvent[] = []
    const unsubscribe = a.actors.operator.onEvent((event) => events.push(event))
    const { id } = await b.actors.operator.createService({ source_peer_id: 'a', target_peer_id: 'b' })
    await b.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    await b.actors.operator.deleteService(id)
    await lab.clock.advance(50)
    unsubscribe()
    const types = events.map(({ type, data }) =>
      type === 'service.status' ? `${type} ${'phase' in data ? data.phase : ''}` : type
    )
    assert.deepEqual(
      types.filter((type) => !type.startsWith('service.status')),
      ['service.created', 'route.created', 'service.deleted', 'route.deleted']
    )
    assert.equal(types.filter((type) => type === 'service.status active').length, 1)
  })

  it('publishes counters, and the source counts for the answer', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    a.dataplane.figures.set(id, { flows: 2, bytesIn: 100, bytesOut: 64_000 })
    await lab.clock.advance(1_500)
    for (const agent of [a, c]) {
      const { status } = await agent.sees(id)
      assert.deepEqual([status.flows, status.bytes_in, status.bytes_out], [2, 100, 64_000])
    }
    const text = await a.actors.operator.metrics()
    assert.match(text, new RegExp(`arctic_service_sent_bytes_total\\{service="${id}",role="source"\\} 64000`))
    assert.match(text, /arctic_crdt_members 3/)
    assert.match(text, /arctic_agent_services\{phase="active"\} 1/)
  })

  it('asks the endpoints anew where reports do not come by themselves', async () => {
    c.mesh.announces = false
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    assert.equal((await c.sees(id)).status.phase, 'active')
    assert.deepEqual([...new Set(c.mesh.refreshed)].sort(), [peerId('a'), peerId('b')])
  })

  it('calls an endpoint late on a third peer only when that has asked it', async () => {
    c.mesh.announces = false
    b.dataplane.gate = new Promise(() => {})
    const told: string[] = []
    c.actors.operator.onEvent(
      ({ type, data }) => type === 'service.status' && 'phase' in data && told.push(String(data.phase))
    )
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(20_000)
    assert.deepEqual([...new Set(told)], ['pending'], 'silence of a peer that was not asked is no fault')
    const { status } = await c.sees(id)
    assert.equal(status.phase, 'degraded')
    assert.partialDeepStrictEqual(condition({ status }, 'TargetProgrammed'), { reason: 'NotProgrammed' })
    const stopping = b.actors.stop()
    await lab.clock.advance(6_000)
    await stopping
  })

  it('gives a peer that was never reached a moment before that counts as a fault', async () => {
    lab.wire.cut(peerId('a'), peerId('d'))
    const d = await lab.agent('d')
    const { id } = await d.actors.operator.createService({ target_peer_id: 'a' })
    await d.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(1_000)
    assert.partialDeepStrictEqual(condition(await d.sees(id), 'TargetReachable'), { reason: 'Connecting' })
    assert.equal((await d.sees(id)).status.phase, 'pending')
    await lab.clock.advance(connectGraceMs)
    assert.partialDeepStrictEqual(condition(await d.sees(id), 'TargetReachable'), { reason: 'TargetUnreachable' })
    assert.equal((await d.sees(id)).status.phase, 'degraded')
  })

  it('says once that a service is degraded, however often that is found again', async () => {
    const log = new FakeLog()
    const d = await lab.agent('d', { log })
    const { id } = await d.actors.operator.createService({ target_peer_id: 'a' })
    d.dataplane.serviceFailures.set(id, { reason: 'InterfaceConflict', message: 'eth9 exists' })
    await d.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    for (let i = 0; i < 4; i++) {
      d.dataplane.warnings.set(id, [{ reason: 'ForwardingDisabled', message: `look ${i}` }])
      await lab.clock.advance(8_000)
    }
    assert.match(JSON.stringify(condition(await d.sees(id), 'Forwarding')), /look 3/)
    assert.equal(log.messages('warn').filter((message) => message.includes('eth9 exists')).length, 1)
  })

  it('does not ask engines for counters while there is nothing to count', async () => {
    await lab.clock.advance(10_000)
    assert.equal(a.dataplane.countersAsked, 0)
  })

  it('publishes nothing and evaluates nothing when nothing happens', async () => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(60_000)
    const before = [a.mesh.published, a.dataplane.told.length, a.replica.writes]
    await lab.clock.advance(60_000)
    assert.deepEqual([a.mesh.published, a.dataplane.told.length, a.replica.writes], before)
  })
})
