import assert from 'node:assert/strict'
import type { RouteTestJson } from '../../src/actors/operator/operator.ts'
import { askApi } from '../../lab/api.ts'
import { CLIENT, EDGE_A, EDGE_B, SERVER } from '../../lab/topology.ts'
import { sha256, payload } from '../../lab/traffic/payload.ts'
import { httpServer, ping, tcp, tcpServer, udpEcho, udpEchoServer } from '../../lab/traffic/tools.ts'
import { settledSnapshot, snapshotDiff, snapshotHost, type Snapshot } from '../../lab/snapshot.ts'
import type { Task } from '../../lab/task.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, MIB, serveSites, type Mesh } from './two-sites.ts'

const FILE_BYTES = 64 * MIB

describe('e2e: the client reaches the server through the mesh', function () {
  this.timeout(60_000)
  let mesh: Mesh
  let http: { task: Task; sha256: string }
  let echo: Task
  let before_: { a: Snapshot; b: Snapshot }

  before(async function () {
    const bare = await meshOf(this, 'e2e-main')
    before_ = { a: await settledSnapshot(bare.a.host), b: await settledSnapshot(bare.b.host) }
    mesh = { ...bare, service: await serveSites(bare) }
    const addresses = [SERVER.v4, SERVER.v6]
    http = await httpServer(mesh.sites.server, { addresses, port: 8000, bytes: FILE_BYTES, text: 'body' })
    echo = await udpEchoServer(mesh.sites.server, addresses, 9000)
  })
  after(() => mesh?.lab.close())

  for (const family of ['v4', 'v6'] as const) {
    const address = SERVER[family]
    const url = `http://${family === 'v6' ? `[${address}]` : address}:8000`
    const seenAs = family === 'v4' ? EDGE_B.lan4 : EDGE_B.lan6

    it(`HTTP over IP${family}: 64 MiB each way unchanged, from the target peer's address`, async () => {
      const { client } = mesh.sites
      await client.exec(['curl', '-sS', '-m', '25', '-o', client.path('file'), `${url}/file`])
      assert.equal((await client.exec(['sha256sum', client.path('file')])).split(' ')[0], http.sha256)
      const upload = ['curl', '-sS', '-m', '25', '-T', client.path('file'), '-X', 'POST', `${url}/upload`]
      assert.equal(await client.exec(upload), http.sha256)
      assert.deepEqual(new Set(requestsFrom(http.task, family)), new Set([seenAs]))
    })

    it(`ping and UDP over IP${family} are answered, from the target peer's address`, async () => {
      const { client } = mesh.sites
      assert.equal((await ping(client, address)).received, 3)
      const outcome = await udpEcho(client, { address, port: 9000, text: `echo ${family}`, count: 5 })
      assert.deepEqual([outcome.received, outcome.from], [5, address])
      const line = echo.json().find(({ text }) => text === `echo ${family} 0`)
      assert.equal(line?.['from'], seenAs)
    })

    it(`a TTL that expires over IP${family} is told by the first hop and breaks nothing`, async () => {
      const { client } = mesh.sites
      const expired = await ping(client, address, { count: 1, ttl: 1 })
      assert.deepEqual([expired.received, expired.expiredAt], [0, family === 'v4' ? EDGE_A.lan4 : EDGE_A.lan6])
      await ping(client, address, { count: 1, ttl: 2 })
      assert.equal((await ping(client, address, { count: 1, ttl: 3 })).received, 1)
      assert.equal((await ping(client, address, { count: 1 })).received, 1)
    })
  }

  it('large datagrams are fragmented and come together again', async () => {
    const { client } = mesh.sites
    const outcome = await udpEcho(client, { address: SERVER.v4, port: 9000, text: 'x'.repeat(4000), count: 2 })
    assert.equal(outcome.received, 2)
    const argv = ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', '-s', '4000', SERVER.v4]
    assert.match(await client.exec(argv), / 2 received/)
  })

  it('twenty connections at once are all carried, each written to the log of both sides once', async () => {
    const { client, server } = mesh.sites
    await tcpServer(server, SERVER.v4, { digest: 7200 })
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () =>
        tcp(client, { address: SERVER.v4, port: 7200, sendBytes: MIB, end: true, waitMs: 20_000 })
      )
    )
    const digest = `${MIB} ${sha256(payload('upload', MIB))}`
    assert.deepEqual([...new Set(outcomes.map(({ how, text }) => `${how}: ${text}`))], [`end: ${digest}`])
    for (const peer of [mesh.a, mesh.b]) {
      for (const { local } of outcomes) {
        await until(`the access line of ${local}`, () => peer.accessLines(local).length > 0, { timeoutMs: 3000 })
        assert.equal(peer.accessLines(local).length, 1)
      }
    }
    const [line] = mesh.b.accessLines(outcomes[0]?.local ?? '')
    assert.equal(line?.['destination'], `${SERVER.v4}:7200`)
    assert.equal(line?.['bytes_in'], MIB)
  })

  it('routes test says who carries what, and why nothing else', async () => {
    const ask = (...more: string[]): Promise<RouteTestJson> =>
      mesh.a.ask('routes', 'test', '--source', CLIENT.v4, '--dest', SERVER.v4, '--trace', ...more)
    const tcpAnswer = await ask('--protocol', 'tcp')
    assert.deepEqual([tcpAnswer.service_id, tcpAnswer.handler], [mesh.service.id, 'pegasus'])
    assert.equal(tcpAnswer.target_peer_id, await mesh.b.id)
    assert.equal(tcpAnswer.candidates?.filter(({ won }) => won).length, 1)
    assert.equal((await ask('--protocol', 'icmp')).handler, 'tempest')
    const elsewhere = await mesh.a.ask<RouteTestJson>('routes', 'test', '--source', CLIENT.v4, '--dest', '192.0.2.1')
    assert.deepEqual([elsewhere.service_id, elsewhere.route_id, elsewhere.handler], [null, null, 'none'])
  })

  it('status, counters, metrics, actors and readiness tell of it', async () => {
    const service = await mesh.a.ask<{ status: { phase: string; bytes_in: number; bytes_out: number } }>(
      'services',
      'get',
      mesh.service.id
    )
    assert.equal(service.status.phase, 'active')
    assert.ok(service.status.bytes_out > 2 * FILE_BYTES && service.status.bytes_in > 2 * FILE_BYTES)
    const status = await mesh.a.ask<{ ready: boolean; services: { active: number } }>('status')
    assert.deepEqual([status.ready, status.services.active], [true, 1])
    assert.equal((await askApi(mesh.a.socket, 'GET', '/readyz')).status, 200)
    assert.match(
      String((await askApi(mesh.a.socket, 'GET', '/metrics')).body),
      new RegExp(`^arctic_service_sent_bytes_total\\{service="${mesh.service.id}"`, 'm')
    )
    assert.match(JSON.stringify(await mesh.a.ask('actors', 'tree')), new RegExp(`service:${mesh.service.id}`))
  })

  it('what matches no route is not touched', async () => {
    // edge-b's own address on its network, and the wire itself: both answer, or not, exactly as without the mesh.
    assert.equal((await ping(mesh.sites.edgeA, EDGE_B.wire4, { count: 1 })).received, 1)
    const out = await mesh.sites.client.attempt(['curl', '-sS', '-m', '1', 'http://192.0.2.1:8000/'])
    assert.notEqual(out.code, 0)
    assert.doesNotMatch(await mesh.a.host.exec(['nft', 'list', 'ruleset']), /192\.0\.2/)
  })

  it('deleted: open flows are reset, nothing is carried, and both hosts are as before the service', async () => {
    const { client, server } = mesh.sites
    await tcpServer(server, SERVER.v4, { hold: 7300 })
    const open = tcp(client, { address: SERVER.v4, port: 7300, send: 'x', waitMs: 20_000 })
    await until('the flow', async () => (await mesh.a.service(mesh.service.id))?.status.flows === 1, {
      timeoutMs: 5000
    })
    await mesh.b.ask('services', 'delete', mesh.service.id, '--yes')
    assert.equal((await open).how, 'ECONNRESET')
    await until(
      'both hosts to be as before',
      async () => {
        const diff = [
          ...snapshotDiff(before_.a, await snapshotHost(mesh.a.host)),
          ...snapshotDiff(before_.b, await snapshotHost(mesh.b.host))
        ]
        assert.deepEqual(diff, [])
        return true
      },
      { timeoutMs: 5000, everyMs: 100 }
    )
    assert.equal((await ping(client, SERVER.v4, { count: 1 })).received, 0)
    assert.equal((await tcp(client, { address: SERVER.v4, port: 7300, waitMs: 1000 })).connected, false)
    assert.equal((await mesh.a.cli('services', 'get', mesh.service.id)).code, 4)
  })
})

const requestsFrom = (server: Task, family: 'v4' | 'v6'): string[] =>
  server
    .json()
    .filter((line) => line['event'] === 'request' && String(line['from']).includes(':') === (family === 'v6'))
    .map((line) => String(line['from']))
