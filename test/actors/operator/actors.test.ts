import assert from 'node:assert/strict'
import { actorWatchesMax } from '../../../src/actors/limits.ts'
import type { ActorUpdateJson } from '../../../src/actors/operator/actor-json.ts'
import { FakeLab, type FakeAgent } from '../fakes/agents.ts'
import { FakeLog } from '../fakes/log.ts'
import { peerId } from '../fakes/records.ts'

describe('actors as an operator sees them', () => {
  let lab: FakeLab
  let log: FakeLog
  let a: FakeAgent
  let id: string
  const by = 'socket'

  beforeEach(async () => {
    lab = new FakeLab()
    log = new FakeLog()
    a = await lab.agent('a', { log })
    await lab.agent('b')
    ;({ id } = await a.actors.operator.createService({ target_peer_id: 'b', name: 'web' }))
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
  })

  afterEach(async () => {
    log.throwOn = () => false
    await lab.stop()
  })

  it('every actor of the tree can be inspected by its path', async () => {
    const paths: string[] = []
    const visit = (actor: { path: string; children: object[] }): void => {
      paths.push(actor.path)
      for (const child of actor.children) visit(child as never)
    }
    visit(await a.actors.operator.actors())
    assert.ok(paths.length > 10)
    for (const path of paths) assert.equal((await a.actors.operator.inspectActor(path)).path, path)
    const netmgr = await a.actors.operator.inspectActor('netmgr')
    assert.ok(JSON.stringify(netmgr).length < 100_000)
    assert.equal('dataplane' in netmgr.context, false)
  })

  it('tells the way of a service with its causes, and keeps it after the service is gone', async () => {
    const steps = await a.actors.operator.actorHistory('service:web')
    assert.deepEqual([steps[0]!.event, steps[0]!.from, steps[0]!.to], ['start', null, 'pending'])
    assert.equal(steps.at(-1)!.to, 'active')
    await a.actors.operator.deleteService(id)
    await lab.clock.advance(50)
    const after = await a.actors.operator.actorHistory(`service:${id}`)
    assert.deepEqual(after.map(({ event }) => event).slice(-2), ['service.withdrawn', 'service.removed'])
    await assert.rejects(a.actors.operator.inspectActor(`service:${id}`), { code: 'not_found' })
  })

  it('watches one actor through a crash and its restart', async () => {
    const seen: ActorUpdateJson[] = []
    const stop = await a.actors.operator.watchActor(`service:${id}`, (update) => seen.push(update))
    log.throwOn = (message) => message.startsWith('service degraded')
    await a.actors.operator.sendActor('service:web', { type: 'service.impaired', reason: 'X', message: 'm' }, { by })
    log.throwOn = () => false
    await lab.clock.advance(1_000)
    assert.deepEqual(seen.map(({ event, to, status }) => [event, to, status]).slice(0, 3), [
      [null, 'active', 'active'],
      ['service.impaired', 'active', 'error'],
      ['start', 'pending', 'active']
    ])
    assert.equal(seen.at(-1)!.to, 'active')
    assert.equal(seen[1]!.by, 'socket')
    stop()
    const count = seen.length
    await a.actors.operator.sendActor('service:web', { type: 'service.awaited', reason: 'X', message: 'm' }, { by })
    assert.equal(seen.length, count)
  })

  it('notes every write in the log with who asked, and the next fact puts the actor right', async () => {
    const sent = await a.actors.operator.sendActor(`peer:b`, { type: 'peer.lost' }, { by: 'somebody' })
    assert.equal(sent.to, 'membership.admitted, reach.unreachable')
    const noted = log.said.find(({ message }) => message === 'an event was sent by hand')
    assert.partialDeepStrictEqual(noted?.fields, { actor: `peer:${peerId('b')}`, event: 'peer.lost', by: 'somebody' })
    lab.wire.cut(peerId('a'), peerId('b'))
    lab.wire.heal(peerId('a'), peerId('b'))
    await lab.clock.advance(50)
    assert.match((await a.actors.operator.inspectActor('peer:b')).state ?? '', /reach\.reachable/)
  })

  it('writes every event into the history of the cluster before it is sent, in order, or does not send it', async () => {
    const impaired = { type: 'service.impaired', reason: 'Drill', message: 'm' }
    await Promise.all([
      a.actors.operator.sendActor('service:web', impaired, { by }),
      a.actors.operator.sendActor('service:web', { type: 'service.programmed' }, { by }),
      assert.rejects(a.actors.operator.sendActor('service:web', { type: 'bogus' }, { by }), { code: 'invalid_request' })
    ])
    assert.deepEqual(lab.document.notes, [
      { author: peerId('a'), actor: `service:${id}`, event: impaired, by },
      { author: peerId('a'), actor: `service:${id}`, event: { type: 'service.programmed' }, by }
    ])
    a.replica.diskFull = true
    await assert.rejects(a.actors.operator.sendActor('service:web', impaired, { by }), { code: 'unavailable' })
    assert.equal((await a.actors.operator.inspectActor('service:web')).state, 'active')
    lab.document.members = []
    lab.document.changed()
    const alone = await a.actors.operator.sendActor('pegasus', { type: 'engine.exited' }, { by })
    assert.equal(alone.event, 'engine.exited', 'in no cluster there is no history, only the log')
  })

  it('bounds the watches', async () => {
    const stops = await Promise.all(
      Array.from({ length: actorWatchesMax }, () => a.actors.operator.watchActor(null, () => {}))
    )
    await assert.rejects(
      a.actors.operator.watchActor(null, () => {}),
      { code: 'unavailable' }
    )
    for (const stop of stops) stop()
    ;(await a.actors.operator.watchActor(null, () => {}))()
  })

  it('retries a failed apply at once when asked to', async () => {
    a.dataplane.serviceFailures.set(id, { reason: 'InterfaceConflict', message: 'eth9 exists' })
    await a.actors.operator.updateService(id, { bandwidth_limit_mbps: 5 })
    await lab.clock.advance(50)
    assert.equal((await a.actors.operator.inspectActor('netmgr')).state, 'impaired')
    a.dataplane.serviceFailures.clear()
    await a.actors.operator.sendActor('netmgr', { type: 'netmgr.retry' }, { by })
    await lab.clock.advance(20)
    assert.equal((await a.actors.operator.inspectActor('netmgr')).state, 'applied')
    await assert.rejects(a.actors.operator.sendActor('netmgr', { type: 'netmgr.apply' }, { by }), {
      code: 'invalid_request'
    })
  })
})
