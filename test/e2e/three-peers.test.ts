import assert from 'node:assert/strict'
import type { ClusterJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { cluster, type Peer } from '../../lab/peer.ts'
import { SERVER, type TwoSites } from '../../lab/topology.ts'
import { ping, tcp, tcpServer } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { threeSites } from './three-sites.ts'
import { serveSites } from './two-sites.ts'

describe('e2e: three peers', function () {
  this.timeout(60_000)
  let lab: Lab
  let sites: TwoSites
  let clientC: Host
  let a: Peer
  let b: Peer
  let c: Peer
  let service: ServiceJson

  before(async function () {
    ;({ lab, sites, clientC, a, b, c } = await threeSites(this, 'e2e-three'))
    await cluster(a, b, c)
    service = await serveSites({ a, b })
    await tcpServer(sites.server, SERVER.v4, { greet: 7002 })
  })
  after(() => lab?.close())

  const agree = (peers: Peer[]): Promise<unknown> =>
    until(
      'all to agree',
      async () => {
        const seen = await Promise.all(peers.map((peer) => peer.ask<ClusterJson>('cluster', 'status')))
        return seen.every(({ agreed, heads }) => agreed && heads.join() === seen[0]?.heads.join())
      },
      { timeoutMs: 10_000, everyMs: 200 }
    )

  it('a service between two of them is seen in force by the third, and the documents agree', async () => {
    await c.active(service.id)
    await agree([a, b, c])
    const { conditions } = (await c.ask<ServiceJson>('services', 'get', service.id)).status
    assert.ok(conditions.length > 0)
  })

  it('the third may make a service of its own, by names, with a target that serves two', async () => {
    const own = await c.connect({ source: 'edge-c', target: 'edge-b', routes: [['--dest-cidr', '10.2.0.0/24']] })
    await Promise.all([a, b, c].map((peer) => peer.active(own.id)))
    for (const client of [sites.client, clientC]) {
      assert.equal((await ping(client, SERVER.v4)).received, 3)
      assert.match((await tcp(client, { address: SERVER.v4, port: 7002, waitMs: 1000 })).text, /^hello/)
    }
  })

  it('changed at once on all three: all come to the same', async () => {
    const names = ['one', 'two', 'three']
    await Promise.all([a, b, c].map((peer, i) => peer.ask('services', 'update', service.id, '--name', names[i] ?? '')))
    await agree([a, b, c])
    const seen = await Promise.all([a, b, c].map(async (peer) => (await peer.service(service.id))?.name))
    assert.equal(new Set(seen).size, 1)
    assert.ok(names.includes(seen[0] ?? ''))
  })

  it('the target is gone: both others say degraded, TCP is reset, nothing goes in the clear; back: active again', async () => {
    await b.end('SIGTERM')
    for (const peer of [a, c]) {
      const { status } = await peer.phase(service.id, 'degraded')
      assert.ok(
        status.conditions.some(({ message }) => message !== ''),
        JSON.stringify(status)
      )
    }
    const refused = await tcp(sites.client, { address: SERVER.v4, port: 7002, waitMs: 5000 })
    assert.match(refused.how, /^ECONN(RESET|REFUSED)$/)
    assert.equal((await ping(sites.client, SERVER.v4, { count: 1 })).received, 0)
    // While it is away something changes: it has to learn of it.
    await c.ask('services', 'update', service.id, '--name', 'meanwhile')
    await b.start()
    await Promise.all([a, b, c].map((peer) => peer.active(service.id)))
    await until('edge-b to have learnt', async () => (await b.service(service.id))?.name === 'meanwhile', {
      timeoutMs: 10_000
    })
    await until('ping', async () => (await ping(sites.client, SERVER.v4, { count: 1 })).received === 1, {
      timeoutMs: 10_000
    })
  })

  it('the wire between source and target is cut: traffic finds the way back once it is mended', async () => {
    await sites.edgeA.ip(['link set wire0 down'])
    await a.phase(service.id, 'degraded', 30_000)
    await sites.edgeA.ip(['link set wire0 up', 'addr replace fd00:9::1/64 dev wire0 nodad'])
    await a.active(service.id, 30_000)
    await until('ping', async () => (await ping(sites.client, SERVER.v4, { count: 1 })).received === 1, {
      timeoutMs: 20_000
    })
  })
})
