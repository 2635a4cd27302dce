import assert from 'node:assert/strict'
import type { Actors } from '../../src/actors/start.ts'
import { systemClock } from '../../src/clock.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, pull } from '../crdt/support.ts'
import { FakeMesh, FakeWire } from './fakes/mesh.ts'
import { startOnReplica } from './fakes/on-replica.ts'

/** The actors over replicas on disk: what the fake document leaves out is signed, validated and folded here. */
describe('actors over real replicas', () => {
  const bench = new Bench()
  const wire = new FakeWire()
  const running: Actors[] = []

  const start = (replica: Replica, name: string): Actors => {
    const mesh = new FakeMesh(replica.self, wire)
    mesh.heads = () => replica.view().heads
    const actors = startOnReplica(replica, mesh, name)
    running.push(actors)
    wire.changed()
    return actors
  }

  after(async () => {
    await Promise.all(running.map((actors) => actors.stop()))
    await bench.clean()
  })

  it('bring a service from the wish on one peer to active on both, and away again', async () => {
    const a = await bench.founder(1)
    const other = await bench.joiner(a, 2)
    await pull(a, other)
    const [one, two] = [start(a, 'peer-1').operator, start(other, 'peer-2').operator]

    const { id } = await two.createService({ source_peer_id: 'peer-1', target_peer_id: 'peer-2' })
    await two.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await assert.rejects(two.addRoutes(id, [{ dest_cidr: '10.2.0.1/24' }]), { code: 'invalid_cidr' })
    await pull(a, other)
    await systemClock.sleep(50)
    for (const operator of [one, two]) assert.equal((await operator.getService(id)).status.phase, 'active')
    assert.equal((await one.listRoutes(id.toLowerCase())).length, 1)

    await one.deleteService(id)
    await pull(other, a)
    await systemClock.sleep(50)
    assert.deepEqual(await two.listServices({}), [])
    const left = (await two.actors()).children.filter(({ path }) => path.startsWith('service:'))
    assert.deepEqual(left, [])
  })
})
