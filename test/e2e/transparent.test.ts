import assert from 'node:assert/strict'
import type { FlowJson } from '../../src/actors/operator/flows.ts'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { askApi } from '../../lab/api.ts'
import { Capture } from '../../lab/capture.ts'
import { settledSnapshot, snapshotDiff, snapshotHost, type Snapshot } from '../../lab/snapshot.ts'
import type { Task } from '../../lab/task.ts'
import { CLIENT, EDGE_B, SERVER, SERVER_NET } from '../../lab/topology.ts'
import { tcp, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

/** The device's addresses on edge-a, by which the client goes. */
const DEVICE = { v4: '10.1.0.50', v6: 'fd00:1::50' }

describe('e2e: fully transparent services', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let untouched: Snapshot
  let service: ServiceJson
  let servers: Record<'v4' | 'v6', Task>

  before(async function () {
    mesh = await meshOf(this, 'e2e-tp')
    const { a, b, sites } = mesh
    // The client must reach the device, not edge-a itself; and its ports are free again at once, unlike those at edge-b.
    await sites.edgeA.sysctl({ 'net.ipv4.conf.lan0.arp_ignore': 1 })
    await sites.client.sysctl({ 'net.ipv4.tcp_max_tw_buckets': 0 })
    await sites.client.ip([
      `route add ${SERVER_NET.v4} via ${DEVICE.v4}`,
      `route add ${SERVER_NET.v6} via ${DEVICE.v6}`
    ])
    // A way to the clients in the clear, which answers must not take.
    await sites.edgeB.ip(['route add 10.1.0.0/24 via 10.9.0.1', 'route add fd00:1::/64 via fd00:9::1'])
    servers = {
      v4: await tcpServer(sites.server, SERVER.v4, { greet: 7002, echo: 7001 }),
      v6: await tcpServer(sites.server, SERVER.v6, { greet: 7002, echo: 7001 })
    }
    untouched = await settledSnapshot(b.host)
    service = await a.connect({
      source: 'edge-a',
      target: 'edge-b',
      routes: Object.values(SERVER_NET).map((net) => ['--dest-cidr', net]),
      flags: [
        '--requires-interface',
        '--fully-transparent',
        '--desired-ipv4',
        `${DEVICE.v4}/24`,
        '--desired-ipv6',
        `${DEVICE.v6}/64`
      ]
    })
    await Promise.all([a.active(service.id), b.active(service.id)])
  })
  after(() => mesh?.lab.close())

  /** One connection that the client ends first; who the server saw. */
  const visit = async (family: 'v4' | 'v6', port: number): Promise<{ from: unknown; from_port: unknown }> => {
    const seen = () => servers[family].json().filter(({ event }) => event === 'open')
    const before_ = seen().length
    const order = { address: SERVER[family], port: 7002, from: { port }, send: 'who am I', end: true, waitMs: 8000 }
    const outcome = await tcp(mesh.sites.client, order)
    assert.deepEqual([outcome.how, outcome.text], ['end', 'hello, who is there?\nwho am I'], JSON.stringify(outcome))
    const visitor = await until('the server to say who it was', () => seen()[before_], { timeoutMs: 2000 })
    return visitor as { from: unknown; from_port: unknown }
  }

  for (const family of ['v4', 'v6'] as const) {
    it(`the server sees the client's own address and port, IP${family}`, async () => {
      await until('the way by the device', () => visit(family, 40_000), { timeoutMs: 15_000 })
      const { from, from_port } = await visit(family, 40_001)
      assert.deepEqual([from, from_port], [CLIENT[family], 40_001])
      const client = family === 'v4' ? `${CLIENT.v4}:40001` : `[${CLIENT.v6}]:40001`
      const line = await until('the access line', async () => mesh.b.accessLines(client)[0], { timeoutMs: 5000 })
      assert.equal(line['dialled_from'], client)
    })

    it(`a connection still in TIME_WAIT at the target peer is no obstacle to the next of its port, IP${family}`, async () => {
      const isWaiting = async (port: number): Promise<void> => {
        const waiting = await mesh.b.host.exec(['ss', '-Htan', 'state', 'time-wait', 'sport', '=', `:${port}`])
        assert.match(waiting, new RegExp(`:${port}`))
      }
      await visit(family, 40_002)
      await isWaiting(40_002)
      // TCP's timestamps tell the new one's segments from the old one's: the same port may serve at once.
      const again = await visit(family, 40_002)
      assert.deepEqual([again.from, again.from_port], [CLIENT[family], 40_002])

      await mesh.b.host.sysctl({ 'net.ipv4.tcp_timestamps': 0 })
      await visit(family, 40_003)
      await isWaiting(40_003)
      // Without them another of the client's ports has to do.
      const another = await visit(family, 40_003)
      assert.equal(another.from, CLIENT[family])
      assert.notEqual(another.from_port, 40_003)
      await mesh.b.host.sysctl({ 'net.ipv4.tcp_timestamps': 1 })
    })
  }

  it('a server on the target peer itself sees the client too', async () => {
    const { sites } = mesh
    const here = await tcpServer(sites.edgeB, EDGE_B.lan4, { greet: 7003 })
    const order = { address: EDGE_B.lan4, port: 7003, from: { port: 40_006 }, waitMs: 500 }
    const outcome = await tcp(sites.client, order)
    assert.equal(outcome.text, 'hello, who is there?\n', JSON.stringify(outcome))
    const { from, from_port } = await here.says(({ event }) => event === 'open')
    assert.deepEqual([from, from_port], [CLIENT.v4, 40_006])
    await here.stop()
  })

  it('an open flow is in the list of its service on both peers, with the address that was dialled from', async () => {
    const { a, b, sites } = mesh
    const flow = await ticker(sites.client, SERVER.v4, 7001, 20)
    const client = String((await flow.says(({ event }) => event === 'open'))['local'])
    await flow.says(({ event }) => event === 'tick')
    const seen = async (peer: typeof a): Promise<FlowJson[]> => {
      const { open_flows } = await peer.ask<{ open_flows: FlowJson[] }>('services', 'get', service.id, '--flows')
      return open_flows.filter((one) => one.client === client)
    }
    const [[atSource], [atTarget]] = await Promise.all([seen(a), seen(b)])
    assert.deepEqual(
      [atSource?.side, atSource?.state, atSource?.destination, atTarget?.side, atTarget?.dialled_from],
      ['source', 'open', `${SERVER.v4}:7001`, 'target', client]
    )
    assert.ok((atSource?.bytes_in ?? 0) > 0 && (atTarget?.bytes_out ?? 0) > 0)
    await flow.stop()
    await until('the list without it', async () => (await seen(a)).length + (await seen(b)).length === 0, {
      timeoutMs: 5000
    })
    const metrics = await askApi(a.socket, 'GET', '/metrics')
    assert.match(String(metrics.body), new RegExp(`arctic_pegasus_first_byte_seconds_count\\{service="${service.id}"`))
  })

  it('an engine that dies leaves no flow half open, and what the server still says does not go on to the client', async () => {
    const { b, sites } = mesh
    const flow = await ticker(sites.client, SERVER.v4, 7001, 20)
    await flow.says(({ event }) => event === 'tick')
    const { dataplane } = await b.status()
    const pid = dataplane.engines.find(({ engine }) => engine === 'pegasus')?.pid ?? 0
    const closed = (): number =>
      servers.v4.json().filter(({ event, manner }) => event === 'closed' && manner === 'echo').length
    const before_ = closed()
    const wire = await Capture.start(sites.edgeB, 'wire0', 'tcp port 7001')
    process.kill(pid, 'SIGKILL')
    await flow.says(({ event }) => event === 'broken')
    await until('the server to hear of it', async () => closed() > before_, { timeoutMs: 5000 })
    assert.equal((await wire.stop()).packets, 0)
    await Promise.all([mesh.a.active(service.id), b.active(service.id)])
    await until('the way again', () => visit('v4', 40_005), { timeoutMs: 10_000 })
  })

  it('answers that go another way than through the target peer: a condition says so, until they come back', async () => {
    const { a, b, sites } = mesh
    const condition = async () =>
      (await a.service(service.id))?.status.conditions.find(({ type }) => type === 'TransparentReturnPath')
    assert.equal(await condition(), undefined)
    // The server has a better way to the clients than edge-b, it thinks.
    await sites.server.ip(['route add blackhole 10.1.0.0/24'])
    const lost = await tcp(sites.client, { address: SERVER.v4, port: 7002, waitMs: 20_000 })
    assert.equal(lost.how, 'ECONNRESET')
    const said = await until('the condition', condition, { timeoutMs: 10_000 })
    assert.deepEqual([said.status, said.reason], [false, 'RepliesElsewhere'])
    assert.match(said.message, /edge-b.*10\.2\.0\.2:7002.*10\.1\.0\.2/)
    await sites.server.ip(['route del blackhole 10.1.0.0/24'])
    await visit('v4', 40_004)
    await until('no condition any more', async () => (await condition()) == null, { timeoutMs: 10_000 })
    await b.active(service.id)
  })

  it('the service goes, and nothing of it stays on the target peer', async () => {
    const { a, b } = mesh
    await a.ask('services', 'delete', service.id, '--yes')
    await until(
      'the host to be as before',
      async () => {
        assert.deepEqual(snapshotDiff(untouched, await snapshotHost(b.host)), [])
        return true
      },
      { timeoutMs: 10_000, everyMs: 100 }
    )
  })
})
