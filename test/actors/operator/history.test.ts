import assert from 'node:assert/strict'
import { HistoryNouns } from '../../../src/actors/operator/history.ts'
import type { OperatorDeps } from '../../../src/actors/operator/deps.ts'
import { historyText } from '../../../src/api/cli/views/history.ts'
import type { Replica } from '../../../src/crdt/replica.ts'
import { Bench, pull, serviceInput } from '../../crdt/support.ts'
import { FakeMesh, FakeWire } from '../fakes/mesh.ts'

/** Over real replicas: what is told has been signed, written down and read back. */
describe('the history of a cluster', () => {
  const bench = new Bench()
  let a: Replica
  let b: Replica
  let history: HistoryNouns

  beforeEach(async () => {
    a = await bench.founder(1)
    b = await bench.joiner(a, 2)
    await pull(a, b)
    const wire = new FakeWire()
    history = new HistoryNouns({ replica: a, mesh: new FakeMesh(a.self, wire) } as unknown as OperatorDeps)
  })
  afterEach(() => bench.clean())

  it('names who did what, before and after, newest first, each signature verified', async () => {
    const { id } = await a.createService(serviceInput(a, b, { name: 'one' }))
    await pull(b, a)
    await b.updateService(id, { name: 'two' })
    await b.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
    await pull(a, b)
    const [added, renamed, created] = await history.list({ service: 'two' })
    assert.deepEqual(
      [added, renamed, created].map((change) => [
        change?.author_name,
        change?.verified,
        change?.valid,
        ...(change?.objects.map(({ kind, action }) => `${kind} ${action}`) ?? [])
      ]),
      [
        ['peer-2', true, true, 'route created'],
        ['peer-2', true, true, 'service updated'],
        ['peer-1', true, true, 'service created']
      ]
    )
    assert.deepEqual(renamed?.objects[0]?.fields['name'], { before: 'one', after: 'two' })
    assert.ok((renamed?.at ?? '') >= (created?.at ?? ''))
    assert.deepEqual(
      (await history.list({ author: 'peer-2', object: id, limit: 1 })).map((change) => change.id),
      [added?.id]
    )
    assert.deepEqual(await history.list({ since: '2100-01-01' }), [])
    const all = await history.list({})
    const { at } = all[1]!
    const older = all.filter((change) => change.at <= at)
    assert.deepEqual(await history.list({ until: at }), older)
    assert.deepEqual(await history.list({ until: at, limit: 1 }), older.slice(0, 1))
    assert.deepEqual(await history.list({ until: '2000-01-01' }), [])
  })

  it('knows what is gone by its id, and refuses what never was', async () => {
    const { id } = await a.createService(serviceInput(a, b, { name: 'one' }))
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
    await a.deleteService(id)
    const [deleted] = await history.list({ service: id.toLowerCase() })
    assert.deepEqual(
      deleted?.objects.map(({ action }) => action),
      ['deleted', 'deleted']
    )
    assert.equal((await history.list({ object: route?.id ?? '' })).length, 2)
    const never = '01J00000000000000000000000'
    await assert.rejects(history.list({ service: never }), { code: 'service_not_found' })
    await assert.rejects(history.list({ object: never }), { code: 'not_found' })
    await assert.rejects(history.list({ author: 'nobody' }), { code: 'peer_not_found' })
    for (const wrong of [{ limit: 0 }, { limit: 1.5 }, { since: 'foo 1' }, { since: '2026-01-01T10:00' }]) {
      await assert.rejects(history.list(wrong), { code: 'invalid_request' })
    }
    await assert.rejects(history.list({ service: id, object: id }), { code: 'invalid_request' })
  })

  it('tells of peers that are gone, under the name that they had', async () => {
    await a.revoke(b.self)
    const [revoked, ...before] = await history.list({ object: 'peer-2' })
    assert.deepEqual(
      [revoked?.kind, revoked?.author_name, revoked?.objects[0]?.action, revoked?.objects[0]?.name],
      ['auth', 'peer-1', 'revoke', 'peer-2']
    )
    assert.deepEqual(
      before.flatMap(({ objects }) => objects.map(({ action }) => action)),
      ['created', 'admit']
    )
    assert.equal((await history.list({ author: 'peer-2' })).length, 1)
  })

  it('tells what was sent to actors by hand, of a peer or a service, and survives what nobody can read', async () => {
    const { id } = await a.createService(serviceInput(a, b, { name: 'one' }))
    const event = { type: 'service.impaired', reason: 'Drill', by: 'forged' }
    await pull(b, a)
    await b.note({ actor: `service:${id}`, event, by: 'socket at somebody' })
    await b.note({ actor: 'netmgr', event: { type: 'netmgr.retry' }, by: 'socket' })
    await a.updateService(id, { name: 'two' })
    await pull(a, b)
    await pull(b, a)
    assert.deepEqual(a.view().heads, b.view().heads)
    assert.deepEqual(a.view().rejected, [])
    const [netmgr] = await history.list({ author: 'peer-2' })
    assert.deepEqual(netmgr?.objects, [
      {
        kind: 'actor',
        id: 'netmgr',
        name: null,
        action: 'sent',
        fields: {
          event: { before: undefined, after: 'netmgr.retry' },
          by: { before: undefined, after: 'socket' }
        }
      }
    ])
    assert.deepEqual([netmgr?.verified, netmgr?.valid, netmgr?.kind], [true, true, 'change'])
    const ofService = await history.list({ service: 'two' })
    const sent = ofService.find(({ objects }) => objects[0]?.kind === 'actor')?.objects[0]
    assert.equal(sent?.fields['by']?.after, 'socket at somebody')
    assert.equal(sent?.fields['reason']?.after, 'Drill')
    assert.match(
      historyText(ofService, { wide: false, colours: false }),
      /was sent an event by hand: event service\.imp/
    )
  })
})
