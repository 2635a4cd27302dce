import assert from 'node:assert/strict'
import { syncGraceMs } from '../../../src/actors/limits.ts'
import type { LicenseState } from '../../../src/license.ts'
import type { FlowRecord, OpenFlow } from '../../../src/dataplane/desired.ts'
import type { OperatorEvent } from '../../../src/actors/operator/operator.ts'
import { quantile } from '../../../src/actors/operator/quantile.ts'
import { FakeLab, type FakeAgent } from '../fakes/agents.ts'
import { member, peerId, ulid } from '../fakes/records.ts'

const openFlow = (client: string): OpenFlow => ({
  side: 'source',
  peer: peerId('b'),
  client,
  destination: '10.2.0.2:80',
  dialledFrom: null,
  state: 'open',
  bytesIn: 10,
  bytesOut: 20,
  ageMs: 1000,
  connectMs: null,
  firstByteMs: 12
})

const flowRecord = (serviceId: string): FlowRecord => ({
  side: 'source',
  serviceId,
  peer: peerId('b'),
  client: '10.1.0.2:40000',
  destination: '10.2.0.2:80',
  dialledFrom: null,
  dialled: null,
  bytesIn: 10,
  bytesOut: 20,
  durationMs: 30,
  connectMs: null,
  firstByteMs: 12,
  reason: 'closed'
})

describe('the operator', () => {
  let lab: FakeLab
  const signal = new AbortController().signal

  beforeEach(() => {
    lab = new FakeLab()
  })

  afterEach(async () => {
    await lab.stop()
  })

  it('creates no more services than its licence allows, however many are asked for at once', async () => {
    let state: LicenseState = {
      file: '/l',
      problem: null,
      license: {
        id: ulid(1),
        holder: 'Acme',
        edition: 'team',
        limits: { services: 2 },
        issued_at: '2026-01-01T00:00:00.000Z',
        expires_at: null
      }
    }
    const { operator } = (await lab.agent('a', { license: () => state })).actors
    await lab.agent('b')
    const create = (): Promise<unknown> => operator.createService({ target_peer_id: 'b' })
    const outcomes = await Promise.allSettled([create(), create(), create(), create()])
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'fulfilled', 'rejected', 'rejected'])
    await assert.rejects(create(), { code: 'service_limit_exceeded', message: /the licence of Acme allows; / })
    const license = await operator.license()
    assert.deepEqual(
      [license.edition, license.limits, license.usage],
      ['team', { services: 2 }, { services: 2, peers: 2 }]
    )
    await operator.setPolicy({ max_services: 1 })
    assert.deepEqual((await operator.license()).limits, { services: 1 })

    state = { license: null, file: '/l', problem: 'the licence /l expired' }
    await operator.setPolicy({ max_services: null })
    await create()
    assert.deepEqual((await operator.status()).license, { edition: 'community', problem: 'the licence /l expired' })
  })

  describe('outside of a cluster', () => {
    it('refuses what needs one and answers the rest', async () => {
      const { operator } = (await lab.agent('a', { admitted: false })).actors
      const refused: Array<Promise<unknown>> = [
        operator.clusterStatus(),
        operator.clusterSync({ signal }),
        operator.clusterInvite({}),
        operator.createService({ target_peer_id: 'b' }),
        operator.listServices({}),
        operator.getService(ulid(1)),
        operator.deleteService(ulid(1)),
        operator.listRoutes(),
        operator.testRoute({ source: '10.1.0.2', dest: '10.2.0.2' })
      ]
      for (const answer of refused) await assert.rejects(answer, { code: 'not_in_cluster' })
      assert.deepEqual(await operator.listPeers({}), [])
      assert.equal((await operator.status()).cluster, null)
      assert.deepEqual(await operator.ready(), { ready: false, reasons: ['in no cluster yet'] })
    })

    it('founds a cluster, once', async () => {
      const { operator } = (await lab.agent('a', { admitted: false })).actors
      const events: string[] = []
      operator.onEvent(({ type }) => events.push(type))
      const cluster = await operator.clusterInit({ name: 'lab' })
      assert.deepEqual([cluster.name, cluster.members.length, cluster.agreed], ['lab', 1, true])
      assert.deepEqual(await operator.ready(), { ready: true, reasons: [] })
      await assert.rejects(operator.clusterInit({}), { code: 'already_in_cluster' })
      await assert.rejects(operator.clusterJoin({ token: 'x' }, { signal }), { code: 'already_in_cluster' })
      assert.deepEqual(events, ['cluster.joined', 'peer.admitted'])
    })

    it('joins, and publishes what it is', async () => {
      await lab.agent('a')
      const b = await lab.agent('b', { admitted: false })
      b.mesh.onJoin = async () => lab.document.admit(member('b', null))
      const cluster = await b.actors.operator.clusterJoin({ token: ' token \n' }, { signal })
      assert.deepEqual(b.mesh.joined, ['token'])
      assert.equal(cluster.members.length, 2)
      await lab.clock.advance(20)
      assert.equal(lab.document.view.members.get(peerId('b'))?.record?.name, 'b')
      assert.equal(b.replica.writes, 1)
    })
  })

  describe('in a cluster', () => {
    let a: FakeAgent
    let b: FakeAgent

    beforeEach(async () => {
      a = await lab.agent('a')
      b = await lab.agent('b')
    })

    it('refuses a service that leads nowhere or to a stranger, with the code of the contract', async () => {
      const { operator } = a.actors
      await lab.agent('z', { admitted: false })
      await assert.rejects(operator.createService({ target_peer_id: 'nobody' }), { code: 'peer_not_found' })
      await assert.rejects(operator.createService({ target_peer_id: peerId('z') }), {
        code: 'target_peer_not_admitted'
      })
      await assert.rejects(operator.createService({ target_peer_id: 'a' }), {
        code: 'invalid_request',
        message: /this peer, the default source/
      })
      await assert.rejects(operator.createService({ source_peer_id: 'b', target_peer_id: 'b' }), {
        code: 'invalid_request'
      })
      await assert.rejects(operator.createService({ source_peer_id: 'nobody', target_peer_id: 'b' }), {
        code: 'peer_not_found'
      })
      await assert.rejects(operator.createService({ target_peer_id: '' }), { code: 'invalid_request' })
      await assert.rejects(operator.createService({ target_peer_id: 'b', fully_transparent: true }), {
        code: 'transparent_requires_interface'
      })
      assert.equal(lab.document.services.size, 0)
    })

    it('lists services by either end, and refuses an end that nobody has', async () => {
      const { operator } = a.actors
      const out = await operator.createService({ target_peer_id: 'b' })
      const back = await operator.createService({ source_peer_id: 'b', target_peer_id: 'a' })
      assert.deepEqual(
        (await operator.listServices({})).map(({ id }) => id),
        [out.id, back.id]
      )
      assert.deepEqual(
        (await operator.listServices({ source_peer_id: 'b' })).map(({ id }) => id),
        [back.id]
      )
      assert.deepEqual(
        (await operator.listServices({ target_peer_id: peerId('b').slice(0, 9) })).map(({ id }) => id),
        [out.id]
      )
      assert.deepEqual(await operator.listServices({ source_peer_id: 'a', target_peer_id: 'a' }), [])
      await assert.rejects(operator.listServices({ target_peer_id: 'nobody' }), { code: 'peer_not_found' })
    })

    it('changes services and routes by id in any case, and knows what is missing', async () => {
      const { operator } = a.actors
      const { id } = await operator.createService({ target_peer_id: 'b' })
      const low = id.toLowerCase()
      const [route] = await operator.addRoutes(low, [{ dest_cidr: '10.2.0.0/24' }])
      assert.equal((await operator.updateService(low, { bandwidth_limit_mbps: 7 })).bandwidth_limit_mbps, 7)
      assert.equal((await operator.updateRoute(low, route!.id.toLowerCase(), { priority: 1 })).priority, 1)
      await assert.rejects(operator.updateRoute(id, ulid(999), {}), { code: 'route_not_found' })
      await assert.rejects(operator.addRoutes(id, []), { code: 'invalid_request' })
      await assert.rejects(operator.addRoutes(ulid(999), [{}]), { code: 'service_not_found' })
      await operator.deleteRoute(id, route!.id)
      assert.deepEqual(await operator.listRoutes(id), [])
      await operator.deleteService(low)
      await assert.rejects(operator.deleteService(id), { code: 'service_not_found' })
    })

    it('answers which service carries a packet, and why the others do not', async () => {
      const { operator } = a.actors
      const { id } = await operator.createService({ target_peer_id: 'b' })
      const [broad, narrow] = await operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/16' }, { dest_cidr: '10.2.3.0/24' }])
      const tcp = await operator.testRoute({ source: '10.1.0.2', dest: '10.2.3.4' })
      assert.partialDeepStrictEqual(tcp, {
        service_id: id,
        route_id: narrow!.id,
        target_peer_id: peerId('b'),
        handler: 'pegasus'
      })
      assert.equal('candidates' in tcp, false)
      for (const protocol of ['udp', 'ICMP', '132']) {
        assert.equal((await operator.testRoute({ source: '10.1.0.2', dest: '10.2.9.9', protocol })).handler, 'tempest')
      }
      const traced = await operator.testRoute({ source: '10.1.0.2', dest: '10.2.3.4', protocol: '6', trace: true })
      assert.deepEqual(
        traced.candidates?.map(({ route_id: route, won, rule }) => [route, won, rule]),
        [
          [narrow!.id, true, 'longer_destination_prefix'],
          [broad!.id, false, 'longer_destination_prefix']
        ]
      )
      assert.partialDeepStrictEqual(traced.change, { id: `change-of-${narrow!.id}`, author_name: 'a' })
      const none = await operator.testRoute({ source: '10.1.0.2', dest: '10.9.0.1', trace: true })
      assert.equal(none.change, null)
      assert.partialDeepStrictEqual(await operator.testRoute({ source: '10.1.0.2', dest: '10.3.0.1' }), {
        service_id: null,
        route_id: null,
        target_peer_id: null,
        handler: 'none'
      })
      for (const wrong of [
        { dest: 'x' },
        { dest: 'fd00::1' },
        { dest: '10.2.0.0/24' },
        { protocol: 'quic' },
        { protocol: '256' }
      ]) {
        await assert.rejects(operator.testRoute({ source: '10.1.0.2', dest: '10.2.3.4', ...wrong }), {
          code: 'invalid_request'
        })
      }
    })

    it('makes invites within bounds', async () => {
      const { operator } = a.actors
      const made = await operator.clusterInvite({ ttl_seconds: 60, uses: 3, role: 'admin' })
      assert.deepEqual(made, { token: 'token-3-admin', expires_at: '2026-01-01T00:01:00.040Z', uses: 3, role: 'admin' })
      assert.equal((await operator.clusterInvite({})).role, 'admin')
      assert.equal((await operator.clusterInvite({ role: 'member' })).role, 'member')
      for (const wrong of [
        { ttl_seconds: 0 },
        { ttl_seconds: Infinity },
        { ttl_seconds: 1e9 },
        { uses: 0 },
        { uses: 1.5 }
      ]) {
        await assert.rejects(operator.clusterInvite(wrong), { code: 'invalid_request' })
      }
    })

    it('shows the cluster: who answers, who agrees, how fast', async () => {
      const { operator } = a.actors
      const cluster = await operator.clusterStatus()
      assert.deepEqual(
        cluster.members.map(({ name, reachable }) => [name, reachable]),
        [
          ['a', true],
          ['b', true]
        ]
      )
      assert.deepEqual(cluster.propagation_ms, { p50: 2, p99: 4, samples: 4 })
      assert.equal(cluster.agreed, true)
      a.mesh.heads = () => ['another']
      assert.equal((await operator.clusterStatus()).agreed, false)
      lab.wire.cut(peerId('a'), peerId('b'))
      assert.equal((await operator.clusterStatus()).agreed, true, 'who does not answer is not asked for agreement')
    })

    it('syncs: pulls, applies anew and says what changed', async () => {
      const { operator } = a.actors
      const { id } = await operator.createService({ target_peer_id: 'b' })
      await operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
      await lab.clock.advance(50)
      const applies = a.dataplane.told.length
      assert.deepEqual(await operator.clusterSync({ signal }), {
        peers: [{ id: peerId('b'), name: 'b', received: 0, sent: 0, error: null }],
        changes: []
      })
      assert.equal(a.dataplane.told.length, applies + 1)
      a.dataplane.serviceFailures.set(id, { reason: 'NftRefused', message: 'no' })
      assert.deepEqual((await operator.clusterSync({ signal })).changes, [`service ${id}: NftRefused, no`])
      assert.equal((await a.sees(id)).status.phase, 'degraded')
    })

    it('is ready when it has synced and the data plane is up, and says what is missing', async () => {
      assert.deepEqual(await a.actors.operator.ready(), { ready: true, reasons: [] })
      const late = await lab.agent('late', { admitted: false })
      late.mesh.heads = () => ['older']
      lab.document.admit(member('late'))
      await lab.clock.advance(20)
      assert.deepEqual((await late.actors.operator.ready()).reasons, ['not synced with any member since the start'])
      late.mesh.heads = () => lab.document.view.heads
      lab.wire.changed()
      await lab.clock.advance(20)
      assert.deepEqual(await late.actors.operator.ready(), { ready: true, reasons: [] })
    })

    it('is ready after a while when there is nobody to sync with', async () => {
      lab.document.members.push(member('gone'))
      const alone = new FakeLab()
      alone.document.members.push(member('gone'))
      const { operator } = (await alone.agent('a')).actors
      assert.equal((await operator.ready()).ready, false)
      await alone.clock.advance(syncGraceMs)
      assert.deepEqual(await operator.ready(), { ready: true, reasons: [] })
      await alone.stop()
    })

    it('shows peers: members, and strangers on request', async () => {
      await lab.agent('z', { admitted: false })
      const { operator } = a.actors
      assert.deepEqual(
        (await operator.listPeers({})).map(({ name, state }) => [name, state]),
        [
          ['a', 'admitted'],
          ['b', 'admitted']
        ]
      )
      assert.deepEqual((await operator.listPeers({ all: true })).at(-1)?.state, 'discovered')
      assert.partialDeepStrictEqual(await operator.getPeer('b'), {
        id: peerId('b'),
        reachable: true,
        role: 'admin',
        rtt_ms: 1
      })
      await assert.rejects(operator.getPeer('nobody'), { code: 'peer_not_found' })
    })

    it('counts in its status what it sees', async () => {
      const { operator } = b.actors
      const { id } = await operator.createService({ source_peer_id: 'a', target_peer_id: 'b' })
      await operator.createService({ target_peer_id: 'a' })
      await operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
      await lab.clock.advance(50)
      const status = await operator.status()
      assert.deepEqual(status.services, { total: 2, active: 1, pending: 1, degraded: 0 })
      assert.partialDeepStrictEqual(status, {
        peer: { name: 'b', version: '0.1.0' },
        cluster: { members: 2, reachable: 2 },
        ready: true
      })
    })

    it('writes metrics in the text format, each name once', async () => {
      const text = await a.actors.operator.metrics()
      const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!)
      assert.equal(new Set(names).size, names.length)
      for (const name of names) assert.match(name, /^arctic_[a-z]+_[a-z_]+$/)
      assert.match(text, /arctic_mesh_propagation_seconds\{quantile="0.99"\} 0.004/)
      assert.match(text, /arctic_engine_ready_state\{engine="pegasus"\} 1/)
      assert.match(text, /arctic_agent_ready_state 1/)
    })

    it("takes the address of a service's device for the device, as programs of the host use it", async () => {
      const { operator } = a.actors
      const { id } = await operator.createService({
        target_peer_id: 'b',
        requires_interface: true,
        desired_ipv4_cidr: '10.1.0.50/24'
      })
      await operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
      await lab.clock.advance(100)
      const carrier = async (source: string): Promise<string | null> =>
        (await operator.testRoute({ source, dest: '10.2.0.2' })).service_id
      assert.deepEqual([await carrier('10.1.0.50'), await carrier('10.1.0.51')], [id, null])
    })

    it('lists the open flows of a service at its ends, and says where to ask elsewhere', async () => {
      const c = await lab.agent('c')
      const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
      a.dataplane.openFlows.set(id, [openFlow('10.1.0.2:40000'), openFlow('10.1.0.2:40001')])
      const listed = await a.actors.operator.listFlows(id, { sort: 'bytes', limit: 1 })
      assert.deepEqual(
        listed.map(({ client, peer_id, connect_ms }) => [client, peer_id, connect_ms]),
        [['10.1.0.2:40000', peerId('b'), null]]
      )
      assert.deepEqual(await b.actors.operator.listFlows(id, { sort: 'age', limit: 9 }), [])
      const elsewhere = c.actors.operator.listFlows(id, { sort: 'age', limit: 9 })
      await assert.rejects(elsewhere, { code: 'invalid_request', message: /ask a or b$/ })
      await assert.rejects(a.actors.operator.listFlows(ulid(99), { sort: 'age', limit: 9 }), {
        code: 'service_not_found'
      })
    })

    it('counts flows by service as they end, and those of services that it does not know as "other"', async () => {
      const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
      await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
      await lab.clock.advance(100)
      for (const service of [id, id, ulid(77)]) a.dataplane.emit({ type: 'flow.closed', flow: flowRecord(service) })
      const text = await a.actors.operator.metrics()
      assert.match(text, new RegExp(`arctic_pegasus_flows_total\\{service="${id}",role="source"\\} 2`))
      assert.match(text, /arctic_pegasus_flows_total\{service="other",role="source"\} 1/)
      assert.match(text, /arctic_pegasus_flow_ends_total\{role="source",reason="closed"\} 3/)
      assert.match(
        text,
        new RegExp(`arctic_pegasus_first_byte_seconds_bucket\\{le="0.025",service="${id}",role="source"\\} 2`)
      )
      await a.actors.operator.deleteService(id)
      await lab.clock.advance(100)
      assert.doesNotMatch(await a.actors.operator.metrics(), new RegExp(`_total\\{service="${id}"`))
    })

    it('passes on what the data plane tells', async () => {
      const events: OperatorEvent[] = []
      a.actors.operator.onEvent((event) => events.push(event))
      a.dataplane.emit({ type: 'kernel.repaired', what: 'table inet arctic' })
      a.dataplane.engine('pegasus', 'failed')
      assert.deepEqual(
        events.map(({ type, data }) => [type, data]),
        [
          ['kernel.repaired', { what: 'table inet arctic' }],
          ['engine.exited', { engine: 'pegasus', reason: 'killed by SIGKILL' }]
        ]
      )
    })
  })
})

describe('a quantile', () => {
  it('is the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
    assert.equal(quantile([], 0.5), null)
    assert.equal(quantile([7], 0.99), 7)
    assert.deepEqual(
      [0, 0.5, 0.99, 1].map((q) => quantile(hundred, q)),
      [1, 50, 99, 100]
    )
  })
})
