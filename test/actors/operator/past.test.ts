import assert from 'node:assert/strict'
import type { OperatorDeps } from '../../../src/actors/operator/deps.ts'
import { pastAnswers } from '../../../src/actors/operator/past.ts'
import { systemClock } from '../../../src/clock.ts'
import type { Replica } from '../../../src/crdt/replica.ts'
import { Bench, pull, serviceInput } from '../../crdt/support.ts'
import { FakeMesh, FakeWire } from '../fakes/mesh.ts'

/** Over real replicas, since what is told of the past comes from their logs. */
describe('questions to the past', () => {
  const bench = new Bench()
  let a: Replica
  let b: Replica
  let deps: OperatorDeps

  beforeEach(async () => {
    a = await bench.founder(1)
    b = await bench.joiner(a, 2)
    await pull(a, b)
    const dataplane = { host: () => ({ own: [], attached: [] }) }
    deps = { replica: a, mesh: new FakeMesh(a.self, new FakeWire()), dataplane } as unknown as OperatorDeps
  })
  afterEach(() => bench.clean())

  const now = async (): Promise<string> => {
    const time = systemClock.now()
    while (systemClock.now() === time) await systemClock.sleep(1)
    return new Date(time).toISOString()
  }

  it('are answered with what was asked for then; what nobody wrote down is null', async () => {
    const { id } = await a.createService(serviceInput(a, b, { name: 'web' }))
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    const time = await now()
    await a.deleteService(id)
    await a.renamePeer(b.self, 'renamed')
    const then = await pastAnswers(deps, time)
    assert.partialDeepStrictEqual(then.getService('web'), { id, status: null, target_peer_id: b.self })
    assert.deepEqual(
      then.listServices({ target_peer_id: 'peer-2' }).map((service) => service.id),
      [id]
    )
    assert.deepEqual(then.listServices({ source_peer_id: 'peer-2' }), [])
    assert.deepEqual(then.listRoutes(id), [{ ...route, status: null }])
    assert.deepEqual(
      then.listPeers({}).map(({ name, state, reachable }) => [name, state, reachable]),
      [
        ['peer-1', 'admitted', null],
        ['peer-2', 'admitted', null]
      ]
    )
    assert.throws(() => then.getService('other'), { code: 'service_not_found' })
    assert.throws(() => then.listServices({ target_peer_id: 'renamed' }), { code: 'peer_not_found' })
  })

  it('say which route would have carried a packet, and who had put it there', async () => {
    const { id } = await a.createService(serviceInput(a, b))
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    const change = (await a.history({ limit: 1 }))[0]!.id
    await a.addRoutes(id, [{ source_cidr: '10.1.0.0/24', dest_cidr: '10.2.0.0/24' }])
    const then = await pastAnswers(deps, change)
    assert.partialDeepStrictEqual(then.testRoute({ source: '10.1.0.2', dest: '10.2.0.2', trace: true }), {
      service_id: id,
      route_id: route!.id,
      target_peer_id: b.self,
      handler: 'pegasus',
      change: { id: change, author_name: 'peer-1' },
      candidates: [{ rule: 'only_match' }]
    })
    const before = await pastAnswers(deps, await first())
    assert.equal(before.testRoute({ source: '10.1.0.2', dest: '10.2.0.2' }).handler, 'none')
  })

  it('of a peer that was thrown out since know it as a member, and later as revoked', async () => {
    const time = await now()
    await a.revoke(b.self)
    assert.equal((await pastAnswers(deps, time)).listPeers({}).length, 2)
    const after = (await pastAnswers(deps, await now())).listPeers({ all: true })
    assert.partialDeepStrictEqual(
      after.find(({ id }) => id === b.self),
      { name: 'peer-2', state: 'revoked', departure: { how: 'revoked', by_name: 'peer-1' } }
    )
  })

  it('are refused for a moment that is none', async () => {
    for (const at of ['', 'yesterday', '2026-13-01', '2026-01-01T12:00', '12:00', 'abc', 'zz'.repeat(32)]) {
      await assert.rejects(pastAnswers(deps, at), { code: 'invalid_request', message: /at ".*" is not a time/ }, at)
    }
  })

  const first = async (): Promise<string> => (await a.history({})).at(-1)!.id
})
