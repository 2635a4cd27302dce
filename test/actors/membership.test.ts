import assert from 'node:assert/strict'
import type { Operator } from '../../src/actors/operator/operator.ts'
import type { Actors } from '../../src/actors/start.ts'
import { systemClock } from '../../src/clock.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, pull } from '../crdt/support.ts'
import { FakeMesh, FakeWire } from './fakes/mesh.ts'
import { startOnReplica } from './fakes/on-replica.ts'

/** Operators of three members over real replicas; only the wire between them is a test's. */
describe('membership, as operators have it', function () {
  this.timeout(20_000)
  const bench = new Bench()
  const running: Actors[] = []
  let wire: FakeWire
  let a: Replica
  let b: Replica
  let c: Replica
  let one: Operator
  let two: Operator
  let three: Operator

  const start = (replica: Replica, name: string): Operator => {
    const mesh = new FakeMesh(replica.self, wire)
    mesh.isMember = (id) => replica.isMember(id)
    mesh.heads = (id) => [a, b, c].find(({ self }) => self === id)?.view().heads ?? null
    const actors = startOnReplica(replica, mesh, name)
    running.push(actors)
    return actors.operator
  }

  /** All hear of all, and of each other's heads. */
  const meet = async (): Promise<void> => {
    for (const to of [a, b, c]) for (const from of [a, b, c]) if (to !== from) await pull(to, from)
    wire.changed()
    await systemClock.sleep(30)
  }

  beforeEach(async () => {
    wire = new FakeWire()
    a = await bench.founder(1)
    b = await bench.joiner(a, 2)
    c = await bench.joiner(a, 3)
    one = start(a, 'peer-1')
    two = start(b, 'peer-2')
    three = start(c, 'peer-3')
    await meet()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((actors) => actors.stop()))
    await bench.clean()
  })

  it('a revoked peer is shown as such by all, with who has confirmed it; its services say why they stand still', async () => {
    const { id } = await two.createService({ source_peer_id: 'peer-2', target_peer_id: 'peer-3' })
    await meet()
    await one.revokePeer('peer-3')
    const before = await one.getPeer('peer-3')
    assert.deepEqual([before.state, before.role, before.departure?.how], ['revoked', null, 'revoked'])
    assert.deepEqual(
      before.departure?.confirmed_by.map(({ name }) => name),
      ['peer-1']
    )
    assert.deepEqual(
      before.departure?.awaited.map(({ name }) => name),
      ['peer-2']
    )
    await meet()
    for (const operator of [one, two]) {
      const { departure } = await operator.getPeer('peer-3')
      assert.deepEqual(departure?.confirmed_by.map(({ name }) => name).sort(), ['peer-1', 'peer-2'])
      assert.deepEqual([departure?.awaited, departure?.by_name], [[], 'peer-1'])
      assert.deepEqual(
        (await operator.listPeers({})).map(({ name }) => name),
        ['peer-1', 'peer-2']
      )
      assert.equal((await operator.listPeers({ all: true })).find(({ id: peer }) => peer === c.self)?.state, 'revoked')
      const { phase, conditions } = (await operator.getService(id)).status
      assert.deepEqual([phase, conditions[0]?.reason], ['degraded', 'PeerRevoked'])
      assert.match(conditions[0]?.message ?? '', /peer-3 was revoked/)
      const { departed } = await operator.clusterStatus()
      assert.deepEqual(
        departed.map(({ name, how, by_name }) => [name, how, by_name]),
        [['peer-3', 'revoked', 'peer-1']]
      )
      await assert.rejects(operator.createService({ target_peer_id: 'peer-3' }), {
        code: 'target_peer_not_admitted',
        message: /is revoked/
      })
    }
    // The one that was thrown out says so itself, and what to do.
    const status = await three.status()
    assert.equal(status.cluster?.role, null)
    assert.match(status.cluster?.notice ?? '', /revoked from cluster "test" by peer-1 .*arctic cluster leave/)
    assert.equal((await three.clusterStatus()).notice, status.cluster?.notice)
    assert.deepEqual((await three.ready()).reasons, [status.cluster?.notice])
    for (const refused of [
      three.createService({ target_peer_id: 'peer-1' }),
      three.createService({ target_peer_id: 'nobody' }),
      three.revokePeer('peer-1')
    ]) {
      await assert.rejects(refused, { code: 'forbidden' })
    }
    await three.clusterLeave()
    assert.equal((await three.status()).cluster, null)
    await three.clusterInit({ name: 'own' })
  })

  it('waits until every member that answers knows of an exclusion, or names who does not', async () => {
    const signal = new AbortController().signal
    await one.revokePeer('peer-3')
    const early = await one.waitForMembers('peer-3', { timeoutMs: 50, signal })
    assert.deepEqual([early.done, early.stragglers.map(({ name }) => name)], [false, ['peer-2']])
    const waiting = one.waitForMembers('peer-3', { timeoutMs: 10_000, signal })
    await meet()
    assert.deepEqual((await waiting).done, true)
    wire.cut(a.self, b.self)
    await one.updatePeer('peer-1', { name: 'edge' })
    const alone = await one.waitForMembers('edge', { timeoutMs: 10_000, signal })
    assert.deepEqual([alone.done, alone.unreachable.map(({ name }) => name)], [true, ['peer-2']])
    wire.heal(a.self, b.self)
    const again = one.waitForMembers('edge', { timeoutMs: 10_000, signal })
    await meet()
    assert.deepEqual([(await again).done, (await again).unreachable], [true, []])
  })

  it('a member reads everything and changes nothing but its own name', async () => {
    const role = await one.updatePeer('peer-2', { role: 'member' })
    assert.equal(role.role, 'member')
    await meet()
    const refused: Array<Promise<unknown>> = [
      two.createService({ target_peer_id: 'peer-1' }),
      two.updatePeer('peer-3', { name: 'x' }),
      two.updatePeer('peer-2', { role: 'admin' }),
      two.revokePeer('peer-3')
    ]
    for (const answer of refused) await assert.rejects(answer, { code: 'forbidden', message: /peers role/ })
    assert.equal((await two.listPeers({})).length, 3)
    assert.equal((await two.updatePeer('peer-2', { name: 'branch' })).name, 'branch')
    await meet()
    assert.equal((await one.getPeer('branch')).id, b.self)
    assert.equal((await one.updatePeer('branch', { role: 'admin', name: 'edge' })).name, 'edge')
    await meet()
    await two.createService({ target_peer_id: 'peer-1' })
  })

  it('refuses names that are taken, peers that never were, and to take away the last admin', async () => {
    await assert.rejects(one.updatePeer('peer-2', { role: 'member', name: 'peer-3' }), { code: 'name_taken' })
    assert.equal((await one.getPeer('peer-2')).role, 'admin')
    await assert.rejects(one.updatePeer('nobody', { name: 'x' }), { code: 'peer_not_found' })
    await assert.rejects(one.updatePeer('peer-2', {}), { code: 'invalid_request' })
    await assert.rejects(one.revokePeer('peer-1'), { code: 'invalid_request', message: /cluster leave/ })
    for (const peer of ['peer-2', 'peer-3']) await one.updatePeer(peer, { role: 'member' })
    await assert.rejects(one.updatePeer('peer-1', { role: 'member' }), { status: 409, message: /only admin/ })
    await assert.rejects(one.clusterLeave(), { status: 409, message: /only admin.*peers role/ })
    assert.equal((await one.status()).cluster?.role, 'admin')
  })

  it('a peer that ended between leaving and forgetting says so, and leaves again', async () => {
    await c.leave()
    const { cluster, ready } = await three.status()
    assert.deepEqual([cluster?.role, ready], [null, false])
    assert.match(cluster?.notice ?? '', /has left .* "arctic cluster leave" again/)
    assert.deepEqual((await three.clusterLeave()).told.map(({ name }) => name).sort(), ['peer-1', 'peer-2'])
    assert.equal((await three.status()).cluster, null)
  })

  it('a peer that leaves is gone at once, and may found or join again', async () => {
    const { id } = await one.createService({ source_peer_id: 'peer-3', target_peer_id: 'peer-1' })
    await meet()
    wire.cut(b.self, c.self)
    const heard = await three.clusterLeave()
    assert.deepEqual(
      [heard.told.map(({ name }) => name), heard.missed.map(({ name }) => name)],
      [['peer-1'], ['peer-2']]
    )
    assert.equal((await three.status()).cluster, null)
    await assert.rejects(three.getService(id), { code: 'not_in_cluster' })
    await three.clusterInit({ name: 'own' })
    assert.equal((await three.clusterStatus()).members.length, 1)
  })
})
