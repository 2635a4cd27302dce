import assert from 'node:assert/strict'
import { diff } from '../../src/crdt/diff.ts'
import type { ReceivedEnvelope } from '../../src/crdt/state.ts'
import type { View } from '../../src/crdt/view.ts'
import {
  NameTakenError,
  NotInClusterError,
  RouteNotFoundError,
  ServiceNotFoundError,
  TargetPeerNotAdmittedError,
  TransparentTcpOnlyError
} from '../../src/errors.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'

describe('crdt/replica', function () {
  this.timeout(60_000)
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

  it('merges concurrent edits per field, and deleting beats changing', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const kept = await a.createService(serviceInput(a, b, { name: 'kept' }))
    const gone = await a.createService(serviceInput(a, b, { name: 'gone' }))
    await pull(b, a)
    await a.updateService(kept.id, { name: 'renamed' })
    await b.updateService(kept.id, { bandwidth_limit_mbps: 7 })
    await a.deleteService(gone.id)
    await b.updateService(gone.id, { name: 'still here' })
    await b.addRoutes(gone.id, [{ dest_cidr: '10.0.0.0/8' }])
    await pull(a, b)
    await pull(b, a)
    assert.deepEqual(state(a), state(b))
    const merged = a.view().services.get(kept.id)
    assert.deepEqual([merged?.name, merged?.bandwidth_limit_mbps], ['renamed', 7])
    assert.equal(a.view().services.has(gone.id), false)
    assert.equal(a.view().routes.size, 0)
    await assert.rejects(b.addRoutes(gone.id, [{ dest_cidr: '10.0.0.0/8' }]), ServiceNotFoundError)
  })

  it('two edits that are each right but not together leave the service out and say so, until one is taken back', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const { id } = await a.createService(serviceInput(a, b, { requires_interface: true }))
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
    await pull(b, a)
    await a.updateService(id, { fully_transparent: true })
    await b.updateService(id, { transport_type: 'kcp' })
    await pull(a, b)
    await pull(b, a)
    assert.deepEqual(state(a), state(b))
    assert.equal(a.view().services.has(id), false)
    assert.equal(a.view().routes.has(route?.id ?? ''), false)
    assert.match(a.view().rejected[0]?.reason ?? '', /fully_transparent works with transport tcp only/)
    await assert.rejects(a.updateService(id, { name: 'x' }), TransparentTcpOnlyError)
    await a.updateService(id, { transport_type: 'tcp' })
    await pull(b, a)
    assert.deepEqual(state(a), state(b))
    assert.equal(b.view().services.get(id)?.fully_transparent, true)
    assert.ok(b.view().routes.has(route?.id ?? ''))
    assert.deepEqual(b.view().rejected, [])
  })

  it('adds all routes or none, in one change, and tells each view once', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const service = await a.createService(serviceInput(a, b))
    const views: Array<[View, View]> = []
    const local: Uint8Array[] = []
    a.onView((view, previous) => views.push([view, previous]))
    a.onLocal((bytes) => local.push(bytes))
    await assert.rejects(
      a.addRoutes(service.id, [{ dest_cidr: '10.0.0.0/8' }, { dest_cidr: '10.0.0.1/8' }]),
      /did you mean/
    )
    await assert.rejects(a.addRoutes(service.id, []), /a list of 1 to 1000 routes/)
    assert.equal(a.view().routes.size, 0)
    const routes = await a.addRoutes(service.id, [{ dest_cidr: '10.0.0.0/8' }, { source_cidr: '10.1.0.0/16' }])
    assert.equal(views.length, 1)
    assert.equal(local.length, 1)
    const [[view, previous]] = views as [[View, View]]
    assert.equal(view.revision, previous.revision + 1)
    const found = diff(previous, view)
    assert.deepEqual(found.routes, {
      added: routes.toSorted((x, y) => (x.id < y.id ? -1 : 1)),
      changed: [],
      removed: []
    })
    assert.deepEqual(found.services, { added: [], changed: [], removed: [] })
  })

  it('writes nothing when nothing changes, and never pulls the ground from under a route', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const service = await a.createService(serviceInput(a, b, { requires_interface: true }))
    const [route] = await a.addRoutes(service.id, [{}])
    const vector = a.vector()
    assert.deepEqual(await a.updateService(service.id, { requires_interface: true }), service)
    assert.deepEqual(await a.updateRoute(service.id, route?.id ?? '', { priority: 100 }), route)
    await a.putPeer(peerRecord(a.self, 'peer-1'))
    assert.deepEqual(a.vector(), vector)
    await assert.rejects(a.updateService(service.id, { requires_interface: false }), /a route needs source_cidr/)
    await assert.rejects(a.updateRoute(service.id, 'x', { priority: 1 }), RouteNotFoundError)
    await assert.rejects(a.deleteRoute(service.id, 'x'), RouteNotFoundError)
    await a.deleteRoute(service.id, route?.id ?? '')
    assert.equal(a.view().routesOf.has(service.id), false)
    await assert.rejects(
      a.createService(serviceInput(a, b, { target_peer_id: signer(7).peerId })),
      TargetPeerNotAdmittedError
    )
    await assert.rejects(b.putPeer(peerRecord(b.self, 'peer-1')), NameTakenError)
  })

  it('outside of a cluster it answers, and refuses what needs one', async () => {
    const a = await bench.open(await bench.dir(), signer(1))
    assert.equal(a.clusterId(), null)
    assert.equal(a.view().cluster, null)
    assert.deepEqual(a.vector(), {})
    assert.deepEqual([...a.missing({}, 1000)], [])
    assert.equal(a.check(new Uint8Array(3)), 'ignore')
    await assert.rejects(a.createService(serviceInput(a, a)), NotInClusterError)
    await assert.rejects(a.receive([], a.self), NotInClusterError)
    assert.throws(() => invite(a), NotInClusterError)
    const outcomes = await Promise.allSettled([1, 2].map(() => a.init({ name: 'x', record: peerRecord(a.self, 'n') })))
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  })

  it('goes on when a listener throws', async () => {
    const a = await bench.founder(1)
    a.onView(() => {
      throw new Error('listener')
    })
    await a.putPeer(peerRecord(a.self, 'renamed'))
    assert.equal(a.view().members.get(a.self)?.name, 'renamed')
  })

  it('hands over what is missing in chunks, and says who wrote what it received when', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    for (let i = 0; i < 20; i++) await a.createService(serviceInput(a, b))
    const chunks = [...a.missing(b.vector(), 2000)]
    assert.ok(chunks.length > 5)
    for (const chunk of chunks) assert.ok(chunk.reduce((sum, bytes) => sum + bytes.length, 0) <= 2000)
    const received: ReceivedEnvelope[] = []
    const stop = b.onReceived((envelope) => received.push(envelope))
    const result = await b.receive(chunks.flat(), a.self)
    stop()
    assert.deepEqual(result, { accepted: 20, known: 0, refused: [], gap: false })
    assert.equal(received.length, 20)
    for (const { author, writtenAt, receivedAt } of received) {
      assert.equal(author, a.self)
      assert.ok(receivedAt >= writtenAt)
    }
    assert.deepEqual(await b.receive(chunks.flat(), a.self), { accepted: 0, known: 20, refused: [], gap: false })
    assert.deepEqual([...a.missing(b.vector(), 2000)], [])
  })
})
