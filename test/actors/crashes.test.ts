import assert from 'node:assert/strict'
import type { ActorJson } from '../../src/actors/operator/operator.ts'
import { restartsMax } from '../../src/actors/limits.ts'
import { FakeLab, type FakeAgent } from './fakes/agents.ts'
import { FakeLog } from './fakes/log.ts'

const pathOf = (tree: ActorJson, path: string): ActorJson | undefined =>
  tree.path === path ? tree : tree.children.map((child) => pathOf(child, path)).find((found) => found != null)

describe('actors that fail', () => {
  let lab: FakeLab
  let log: FakeLog
  let a: FakeAgent
  const find = async (path: string): Promise<ActorJson | undefined> => pathOf(await a.actors.operator.actors(), path)

  beforeEach(async () => {
    lab = new FakeLab()
    log = new FakeLog()
    a = await lab.agent('a', { log })
    await lab.agent('b')
  })

  afterEach(async () => {
    log.throwOn = () => false
    await lab.stop()
    await lab.clock.settle()
    assert.equal(lab.clock.pending, 0)
  })

  it('a service comes back with its routes and knows where it stands', async () => {
    let left = 2
    log.throwOn = (message) => message === 'service active on both peers' && left-- > 0
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    const [route] = await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    assert.equal(await find(`service:${id}`), undefined)
    await lab.clock.advance(1_000)
    assert.equal((await find(`service:${id}`))?.state, 'active')
    assert.equal((await find(`route:${route!.id}`))?.state, 'active')
    assert.equal((await a.sees(id)).status.phase, 'active', 'what an actor does never changes what is in force')
  })

  it('a service that keeps failing stays away alone, and gets another chance when its wish changes', async () => {
    const bad = await a.actors.operator.createService({ target_peer_id: 'b', name: 'bad' })
    log.throwOn = (message) =>
      message === 'service active on both peers' && log.said.at(-1)?.fields['service'] === bad.id
    const good = await a.actors.operator.createService({ target_peer_id: 'b', name: 'good' })
    for (const { id } of [bad, good]) await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(60_000)
    assert.equal(await find(`service:${bad.id}`), undefined)
    assert.equal((await find(`service:${good.id}`))?.state, 'active')
    assert.deepEqual(a.fatal, [])
    log.throwOn = () => false
    await a.actors.operator.updateService(bad.id, { bandwidth_limit_mbps: 10 })
    await lab.clock.advance(50)
    assert.equal((await find(`service:${bad.id}`))?.state, 'active')
  })

  it('netmgr comes back, listens to the data plane again and brings the newest wish to it', async () => {
    const { size: listeners } = a.dataplane.listeners
    let left = 1
    log.throwOn = (message) => message === 'the data plane refused its new state' && left-- > 0
    a.dataplane.gate = Promise.reject(new Error('nft is gone'))
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.settle()
    assert.equal(await find('netmgr'), undefined)
    assert.equal(a.dataplane.listeners.size, listeners - 1, 'a dead actor holds no subscription')
    a.dataplane.gate = null
    await lab.clock.advance(1_000)
    assert.equal((await find('netmgr'))?.state, 'applied')
    assert.equal(a.dataplane.listeners.size, listeners)
    assert.equal((await a.sees(id)).status.phase, 'active')
  })

  it('a refused apply is the reason until one goes well', async () => {
    a.dataplane.gate = Promise.reject(new Error('nft is gone'))
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(20)
    const { status } = await a.sees(id)
    assert.equal(status.phase, 'degraded')
    assert.partialDeepStrictEqual(status.conditions[0], { reason: 'ApplyFailed', message: 'a: nft is gone' })
    assert.match((await a.actors.operator.ready()).reasons.join(), /nft is gone/)
    a.dataplane.gate = null
    await lab.clock.advance(2_000)
    assert.equal((await a.sees(id)).status.phase, 'active')
  })

  it('a singleton that keeps failing ends the agent, once', async () => {
    const { size: listeners } = a.dataplane.listeners
    log.throwOn = (message) => message === 'the data plane refused its new state'
    a.dataplane.gate = Promise.reject(new Error('nft is gone'))
    await a.actors.operator.createService({ target_peer_id: 'b' })
    await lab.clock.advance(restartsMax * 5_000)
    assert.equal(a.fatal.length, 1)
    assert.equal((await a.actors.operator.actors()).state, 'failed')
    assert.equal(a.dataplane.listeners.size, listeners - 1)
  })
})
