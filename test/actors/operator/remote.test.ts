import assert from 'node:assert/strict'
import type { ActorUpdateJson, DeathNotice } from '../../../src/actors/operator/actor-json.ts'
import type { OperatorEvent } from '../../../src/actors/operator/operator.ts'
import { FakeLab, type FakeAgent } from '../fakes/agents.ts'
import { FakeLog } from '../fakes/log.ts'
import { peerId } from '../fakes/records.ts'

describe('actors of another peer as an operator sees them', () => {
  let lab: FakeLab
  let log: FakeLog
  let a: FakeAgent
  let b: FakeAgent
  let id: string

  beforeEach(async () => {
    lab = new FakeLab()
    log = new FakeLog()
    a = await lab.agent('a')
    b = await lab.agent('b', { log })
    await lab.agent('c')
    ;({ id } = await a.actors.operator.createService({ target_peer_id: 'b', name: 'web' }))
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
  })
  afterEach(() => lab.stop())

  it('are the ones that live there, named as they are there', async () => {
    assert.deepEqual(await a.actors.operator.actors({ peer: 'b' }), await b.actors.operator.actors())
    const detail = await a.actors.operator.inspectActor('service:web', { peer: 'b' })
    assert.deepEqual([detail.peer_id, detail.path, detail.context['role']], [peerId('b'), `service:${id}`, 'target'])
    assert.deepEqual(await a.actors.operator.inspectActor('actor://b/service:web'), detail)
    assert.deepEqual(await a.actors.operator.actorHistory('service:web', { peer: 'b' }), detail.history)
    assert.equal((await a.actors.operator.inspectActor('netmgr', { peer: 'a' })).peer_id, peerId('a'))
    await assert.rejects(a.actors.operator.inspectActor('service:web', { peer: 'c' }), { code: 'not_found' })
  })

  it('take events, and whoever looks there sees who sent them', async () => {
    const events: OperatorEvent[] = []
    b.actors.operator.onEvent((event) => event.type === 'actor.sent' && events.push(event))
    const event = { type: 'service.impaired', reason: 'Drill', message: 'a rehearsal' }
    const sent = await a.actors.operator.sendActor('actor://b/service:web', event, { by: 'socket' })
    assert.deepEqual([sent.from, sent.to], ['active', 'degraded'])
    const by = `socket at ${peerId('a')}`
    const noted = log.said.find(({ message }) => message === 'an event was sent by hand')
    assert.partialDeepStrictEqual(noted?.fields, { actor: `service:${id}`, event: 'service.impaired', by })
    assert.partialDeepStrictEqual(events[0]?.data, { path: `service:${id}`, event: 'service.impaired', by })
    assert.equal((await b.actors.operator.actorHistory('service:web')).at(-1)?.by, by)
    await a.actors.operator.tellActor('netmgr', { type: 'netmgr.retry' }, { by: 'socket', peer: 'b' }).catch(() => {})
  })

  it('are watched, and monitored to their end', async () => {
    const seen: ActorUpdateJson[] = []
    const ends: DeathNotice[] = []
    const stop = await a.actors.operator.watchActor('service:web', (update) => seen.push(update), { peer: 'b' })
    await a.actors.operator.monitorActor('service:web', (notice) => ends.push(notice), { peer: 'b' })
    await a.actors.operator.deleteService(id)
    await lab.clock.advance(50)
    assert.deepEqual([seen[0]?.event, seen[0]?.to], [null, 'active'])
    assert.equal(seen.at(-1)?.event, 'service.removed')
    assert.deepEqual(ends, [{ status: 'done', reason: null }])
    stop()
  })

  it('say so when their peer cannot be asked, and when it answers what nobody understands', async () => {
    lab.wire.cut(peerId('a'), peerId('b'))
    await assert.rejects(a.actors.operator.actors({ peer: 'b' }), { code: 'unavailable' })
    lab.wire.heal(peerId('a'), peerId('b'))
    const real = b.mesh.actors.handler!
    for (const answer of [null, 7, {}, { path: 'agent' }, { path: 'x', state: null, status: 'bored', children: [] }]) {
      b.mesh.actors.serve({ ...real, ask: () => answer })
      await assert.rejects(a.actors.operator.actors({ peer: 'b' }), { code: 'unavailable', message: /versions/ })
      await assert.rejects(a.actors.operator.inspectActor('netmgr', { peer: 'b' }), { code: 'unavailable' })
      await assert.rejects(a.actors.operator.actorHistory('netmgr', { peer: 'b' }), { code: 'unavailable' })
    }
  })
})
