import assert from 'node:assert/strict'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'

describe('crdt/replica', () => {
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('carries a service and its routes to another peer and back through its disk', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const service = await b.createService(serviceInput(a, b, { name: 'web' }))
    assert.deepEqual(b.view().rejected, [])
    const [route] = await b.addRoutes(service.id, [{ dest_cidr: '10.2.0.0/24' }])
    await pull(a, b)
    assert.deepEqual(a.view().services.get(service.id), service)
    assert.deepEqual(a.view().routesOf.get(service.id), [route])
    assert.deepEqual(state(a), state(b))
    assert.equal(a.view().members.get(b.self)?.record?.name, 'peer-2')
  })

  it('is where it was after a restart, under a new actor', async () => {
    const dir = await bench.dir()
    const a = await bench.open(dir, signer(1))
    const id = await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const service = await a.createService(serviceInput(a, b))
    const before = state(a)
    const vector = a.vector()
    await a.close()
    const again = await bench.open(dir, signer(1))
    assert.equal(again.clusterId(), id)
    assert.deepEqual(state(again), before)
    assert.deepEqual(again.vector(), vector)
    await again.updateService(service.id, { name: 'renamed' })
    assert.equal(Object.keys(again.vector()).length, Object.keys(vector).length + 1)
    await pull(b, again)
    assert.equal(b.view().services.get(service.id)?.name, 'renamed')
    assert.equal(invite(again).startsWith('arctic1.'), true)
  })
})
