import assert from 'node:assert/strict'
import type { ServiceJson, WaitJson } from '../../../src/actors/operator/operator.ts'
import { FakeLab, type FakeAgent } from '../fakes/agents.ts'
import { peerId } from '../fakes/records.ts'

describe('waiting for a change', () => {
  let lab: FakeLab
  let a: FakeAgent
  let b: FakeAgent
  const signal = new AbortController().signal

  beforeEach(async () => {
    lab = new FakeLab()
    a = await lab.agent('a')
    b = await lab.agent('b')
  })

  afterEach(async () => {
    await lab.stop()
  })

  /** Begins to wait at an agent; `answer` is there once it has ended. */
  const wait = (
    service: ServiceJson,
    { at = a, timeoutMs = 2_000 }: { at?: FakeAgent; timeoutMs?: number } = {}
  ): { answer: WaitJson | null } => {
    const waiting: { answer: WaitJson | null } = { answer: null }
    void at.actors.operator.waitFor([service], { timeoutMs, signal }).then((answer) => (waiting.answer = answer))
    return waiting
  }
  const closeGate = (agent: FakeAgent): (() => void) => {
    const gate = Promise.withResolvers<void>()
    agent.dataplane.gate = gate.promise
    return () => {
      agent.dataplane.gate = null
      gate.resolve()
    }
  }
  const routed = async (): Promise<ServiceJson> => {
    const service = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(service.id, [{ dest_cidr: '10.2.0.0/24' }])
    return service
  }
  /** Null while it waits. */
  const done = ({ answer }: { answer: WaitJson | null }): boolean | null => answer?.done ?? null
  const stragglers = ({ answer }: { answer: WaitJson | null }): unknown =>
    answer?.stragglers.map(({ name, reason }) => [name, reason])

  it('ends once both ends have programmed it, and not before', async () => {
    const open = closeGate(b)
    const service = await routed()
    const waiting = wait(service)
    await lab.clock.advance(500)
    assert.equal(done(waiting), null)
    open()
    await lab.clock.advance(500)
    assert.partialDeepStrictEqual(waiting.answer, { done: true, stragglers: [], more: 0, unreachable: [] })
    assert.equal((await a.sees(service.id)).status.phase, 'active')
  })

  it('asks nobody who tells it by itself, unless that one is silent for long', async () => {
    const open = closeGate(b)
    const service = await routed()
    const waiting = wait(service)
    a.mesh.refreshed.length = 0
    await lab.clock.advance(200)
    assert.deepEqual(a.mesh.refreshed, [])
    await lab.clock.advance(100)
    assert.deepEqual(a.mesh.refreshed, [peerId('b')])
    open()
    await lab.clock.advance(20)
    assert.equal(done(waiting), true)
    a.mesh.refreshed.length = 0
    assert.equal((await a.actors.operator.getService(service.id, { asKnown: true })).status.phase, 'active')
    const [route] = await a.actors.operator.listRoutes(service.id, { asKnown: true })
    assert.deepEqual([route?.status, a.mesh.refreshed], ['active', []])
  })

  it('names who has not, and why, when the time is up; what was written stays', async () => {
    const open = closeGate(b)
    const service = await routed()
    const waiting = wait(service)
    await lab.clock.advance(2_100)
    assert.partialDeepStrictEqual(waiting.answer, {
      done: false,
      stragglers: [{ peer: peerId('b'), name: 'b', service_id: service.id, reason: 'Programming' }]
    })
    assert.equal((await a.actors.operator.listServices({})).length, 1)
    open()
  })

  it('waits for an update although both have an older wish in force', async () => {
    const service = await routed()
    await lab.clock.advance(50)
    const open = closeGate(a)
    const changed = await a.actors.operator.updateService(service.id, { bandwidth_limit_mbps: 5 })
    const waiting = wait(changed)
    await lab.clock.advance(300)
    assert.equal(done(waiting), null)
    open()
    await lab.clock.advance(300)
    assert.equal(done(waiting), true)
  })

  it('names the reason of a peer that refuses it', async () => {
    const service = await a.actors.operator.createService({ target_peer_id: 'b' })
    b.dataplane.serviceFailures.set(service.id, { reason: 'NftRefused', message: 'no' })
    await a.actors.operator.addRoutes(service.id, [{ dest_cidr: '10.2.0.0/24' }])
    const waiting = wait(service)
    await lab.clock.advance(2_100)
    assert.deepEqual(stragglers(waiting), [['b', 'NftRefused']])
  })

  it('ends at once where the only straggler runs without a data plane', async () => {
    const service = await a.actors.operator.createService({ target_peer_id: 'b' })
    b.dataplane.serviceFailures.set(service.id, { reason: 'DataplaneDisabled', message: 'none' })
    await a.actors.operator.addRoutes(service.id, [{ dest_cidr: '10.2.0.0/24' }])
    const waiting = wait(service, { timeoutMs: 60_000 })
    await lab.clock.advance(500)
    assert.deepEqual(stragglers(waiting), [['b', 'DataplaneDisabled']])
  })

  it('a third peer waits for both ends, which tell it nothing by themselves', async () => {
    const c = await lab.agent('c')
    c.mesh.announces = false
    const open = closeGate(b)
    const service = await routed()
    const waiting = wait(service, { at: c })
    await lab.clock.advance(500)
    assert.equal(done(waiting), null)
    open()
    await lab.clock.advance(500)
    assert.equal(done(waiting), true)
  })

  it('does not wait for who cannot be reached, and says so', async () => {
    lab.wire.cut(peerId('a'), peerId('b'))
    const service = await routed()
    const waiting = wait(service)
    await lab.clock.advance(100)
    assert.partialDeepStrictEqual(waiting.answer, {
      done: true,
      stragglers: [],
      unreachable: [{ peer: peerId('b'), name: 'b' }]
    })
  })

  it('names whom it did not wait for although all else was done long before', async () => {
    const c = await lab.agent('c')
    lab.wire.cut(peerId('a'), peerId('b'))
    const [toB, toC] = [await routed(), await a.actors.operator.createService({ target_peer_id: 'c' })]
    const open = closeGate(c)
    await a.actors.operator.addRoutes(toC.id, [{ dest_cidr: '10.3.0.0/24' }])
    let answer: WaitJson | null = null
    void a.actors.operator.waitFor([toB, toC], { timeoutMs: 2_000, signal }).then((one) => (answer = one))
    await lab.clock.advance(500)
    open()
    await lab.clock.advance(500)
    assert.partialDeepStrictEqual(answer, { done: true, unreachable: [{ name: 'b' }] })
  })

  describe('of a deletion', () => {
    it('ends once both hosts have let go of it', async () => {
      const service = await routed()
      await lab.clock.advance(50)
      const open = closeGate(b)
      await a.actors.operator.deleteService(service.id)
      const waiting = wait(service)
      await lab.clock.advance(1_000)
      assert.equal(done(waiting), null)
      open()
      await lab.clock.advance(300)
      assert.equal(done(waiting), true)
      assert.equal(b.mesh.own.size, 0, 'and nothing is said of it any more')
    })

    it('names who still has it', async () => {
      const service = await routed()
      await lab.clock.advance(50)
      const open = closeGate(a)
      await b.actors.operator.deleteService(service.id)
      const waiting = wait(service, { at: b })
      await lab.clock.advance(2_100)
      assert.deepEqual(stragglers(waiting), [['a', 'Removing']])
      open()
    })

    it('is not taken for done while the making is still under way', async () => {
      const open = closeGate(b)
      const service = await routed()
      await lab.clock.advance(20)
      await a.actors.operator.deleteService(service.id)
      const waiting = wait(service)
      await lab.clock.advance(1_000)
      assert.equal(done(waiting), null)
      open()
      await lab.clock.advance(300)
      assert.equal(done(waiting), true)
    })

    it('the silence of a peer that may not have heard of it yet is no answer', async () => {
      lab.wire.cut(peerId('a'), peerId('b'))
      const service = await routed()
      await lab.clock.advance(50)
      await a.actors.operator.deleteService(service.id)
      await lab.clock.advance(50)
      a.mesh.heads = () => ['older']
      lab.wire.heal(peerId('a'), peerId('b'))
      const waiting = wait(service)
      await lab.clock.advance(1_000)
      assert.equal(done(waiting), null)
      a.mesh.heads = () => lab.document.view.heads
      await lab.clock.advance(300)
      assert.equal(done(waiting), true)
    })
  })

  it('leaves no timer behind when its asker goes', async () => {
    const open = closeGate(b)
    const service = await routed()
    await lab.clock.advance(100)
    const gone = new AbortController()
    const waiting = a.actors.operator.waitFor([service], { timeoutMs: 60_000, signal: gone.signal })
    await lab.clock.advance(100)
    gone.abort(new Error('gone'))
    await assert.rejects(waiting, /gone/)
    open()
  })
})
