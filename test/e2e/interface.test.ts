import assert from 'node:assert/strict'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { settledSnapshot, snapshotDiff, snapshotHost } from '../../lab/snapshot.ts'
import { EDGE_B, SERVER } from '../../lab/topology.ts'
import { httpServer, ping, udpEcho, udpEchoServer } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

describe('e2e: services with an interface of their own, and traffic of the source host itself', function () {
  this.timeout(40_000)
  let mesh: Omit<Mesh, 'service'>

  before(async function () {
    mesh = await meshOf(this, 'e2e-if')
    // Linux answers ARP for any of its addresses on any device, unless told otherwise as here: else the client might
    // take the parent device's MAC for the MACVLAN's address, and its packets would enter elsewhere.
    await mesh.sites.edgeA.sysctl({ 'net.ipv4.conf.lan0.arp_ignore': 1 })
    const addresses = [SERVER.v4, SERVER.v6]
    await httpServer(mesh.sites.server, { addresses, port: 8000, bytes: 1024, text: 'body' })
    await udpEchoServer(mesh.sites.server, addresses, 9000)
  })
  after(() => mesh?.lab.close())

  const whoami = async (host = mesh.sites.client, address: string = SERVER.v4, by?: string): Promise<string> => {
    const url = `http://${address.includes(':') ? `[${address}]` : address}:8000/whoami`
    const out = await host.attempt(['curl', '-sS', '-m', '3', ...(by == null ? [] : ['--interface', by]), url])
    return out.code === 0 ? (JSON.parse(out.stdout) as { address: string }).address : out.stderr.trim()
  }

  it('a MACVLAN device on the source peer carries what enters by it, and nothing else is carried', async () => {
    const { a, b, sites } = mesh
    const before_ = await settledSnapshot(a.host)
    const flags = ['--requires-interface', '--desired-ipv4', '10.1.0.50/24', '--desired-ipv6', 'fd00:1::50/64']
    const service = await b.connect({ source: 'edge-a', target: 'edge-b', routes: [[]], flags })
    const { status } = await a.active(service.id)
    const name = service.id.slice(0, 15).toLowerCase()
    assert.deepEqual(
      [status.interface?.name, status.interface?.ipv4, status.interface?.ipv6],
      [name, '10.1.0.50/24', 'fd00:1::50/64']
    )
    const links = JSON.parse(await a.host.exec(['ip', '-j', '-d', 'link', 'show', 'dev', name])) as Array<{
      linkinfo: { info_kind: string }
      address: string
    }>
    assert.deepEqual([links[0]?.linkinfo.info_kind, links[0]?.address], ['macvlan', status.interface?.mac])

    // By its default route the client enters edge-a elsewhere: not this service's packet.
    assert.equal((await ping(sites.client, SERVER.v4, { count: 1 })).received, 0)
    await sites.client.ip(['route add 10.2.0.0/24 via 10.1.0.50', 'route add fd00:2::/64 via fd00:1::50'])
    await until(
      'the way by the device',
      async () => (await ping(sites.client, SERVER.v4, { count: 1 })).received === 1,
      { timeoutMs: 5000 }
    )
    // IPv6 makes sure for a second or two that nobody else has the device's address.
    await until(
      'the IPv6 way by the device',
      async () => (await ping(sites.client, SERVER.v6, { count: 1 })).received === 1,
      { timeoutMs: 5000 }
    )
    assert.equal(await whoami(), EDGE_B.lan4)
    assert.equal(await whoami(sites.client, SERVER.v6), EDGE_B.lan6)
    assert.equal((await udpEcho(sites.client, { address: SERVER.v4, port: 9000, text: 'by device' })).received, 3)

    await a.host.exec(['ip', 'link', 'del', name])
    const back = async (): Promise<boolean> => (await a.host.attempt(['ip', 'link', 'show', 'dev', name])).code === 0
    await until('the device to be back', back, { timeoutMs: 2000 })
    await until('traffic by it', async () => (await whoami()) === EDGE_B.lan4, { timeoutMs: 5000 })

    await a.ask('services', 'delete', service.id, '--yes')
    await until(
      'the host to be as before',
      async () => {
        assert.deepEqual(snapshotDiff(before_, await snapshotHost(a.host)), [])
        return true
      },
      { timeoutMs: 5000, everyMs: 100 }
    )
    await sites.client.ip(['route del 10.2.0.0/24', 'route del fd00:2::/64'])
  })

  it('programs on the source host that are bound to the device or its address are carried, and no others', async () => {
    const { a, sites } = mesh
    const before_ = await settledSnapshot(a.host)
    await sites.edgeA.ip([`route add default via ${EDGE_B.wire4}`, `route add default via ${EDGE_B.wire6}`])
    const flags = ['--requires-interface', '--desired-ipv4', '10.1.0.60/24', '--desired-ipv6', 'fd00:1::60/64']
    const service = await a.connect({ source: 'edge-a', target: 'edge-b', routes: [[]], flags })
    const name = (await a.active(service.id)).status.interface?.name ?? ''
    assert.equal(await whoami(sites.edgeA), '10.9.0.1')
    for (const by of ['10.1.0.60', `if!${name}`]) {
      assert.equal(await whoami(sites.edgeA, SERVER.v4, by), EDGE_B.lan4, by)
    }
    await until('IPv6', async () => (await whoami(sites.edgeA, SERVER.v6, 'fd00:1::60')) === EDGE_B.lan6, {
      timeoutMs: 5000
    })
    assert.equal(await whoami(sites.edgeA, SERVER.v6, `if!${name}`), EDGE_B.lan6)
    // What is not TCP is carried by the address; a socket bound to the device cannot leave by a tunnel, nor by anything else.
    for (const [by, address, received] of [
      ['10.1.0.60', SERVER.v4, 3],
      ['fd00:1::60', SERVER.v6, 3],
      [name, SERVER.v4, 0],
      [name, SERVER.v6, 0]
    ] as const) {
      const { stdout } = await sites.edgeA.attempt(['ping', '-n', '-c3', '-i0.2', '-W1', '-I', by, address])
      assert.match(stdout, new RegExp(` ${received} received`), `${address} by ${by}`)
    }

    // What is asked of the device is what the device becomes, without a break for what is not changed.
    const mac = (await a.service(service.id))?.status.interface?.mac
    await a.ask('services', 'update', service.id, '--desired-ipv4', '10.1.0.61/24')
    await until(
      'the new address',
      async () => {
        const { status } = await a.active(service.id)
        const { interface: made } = status
        return made?.ipv4 === '10.1.0.61/24' && made.ipv6 === 'fd00:1::60/64' && made.mac === mac
      },
      { timeoutMs: 5000 }
    )
    assert.equal(await whoami(sites.edgeA, SERVER.v4, '10.1.0.61'), EDGE_B.lan4)
    assert.equal(await whoami(sites.edgeA, SERVER.v4, `if!${name}`), EDGE_B.lan4)
    assert.equal((await a.host.addresses()).includes('10.1.0.60/24'), false)

    await a.ask('services', 'delete', service.id, '--yes')
    await sites.edgeA.ip([`route del default via ${EDGE_B.wire4}`, `route del default via ${EDGE_B.wire6}`])
    await until(
      'the host to be as before',
      async () => {
        assert.deepEqual(snapshotDiff(before_, await snapshotHost(a.host)), [])
        return true
      },
      { timeoutMs: 5000, everyMs: 100 }
    )
  })

  it('what the source host sends by itself is carried like what it forwards', async () => {
    const { a, sites } = mesh
    // A host sends only where it has a route to; here it is the plain way, which the service has to take over.
    await sites.edgeA.ip([`route add default via ${EDGE_B.wire4}`])
    assert.equal(await whoami(sites.edgeA), '10.9.0.1')
    const service: ServiceJson = await a.connect({
      source: 'edge-a',
      target: 'edge-b',
      routes: [['--dest-cidr', '10.2.0.0/24']]
    })
    await a.active(service.id)
    assert.equal(await whoami(sites.edgeA), EDGE_B.lan4)
    assert.equal((await ping(sites.edgeA, SERVER.v4)).received, 3)
    assert.equal((await udpEcho(sites.edgeA, { address: SERVER.v4, port: 9000, text: 'own' })).received, 3)
    assert.ok(((await a.service(service.id))?.status.bytes_out ?? 0) > 0)
    // The peers' own traffic is never taken, or the mesh would cut the branch it sits on.
    assert.ok((await a.peers()).every(({ reachable }) => reachable))
    await a.ask('services', 'delete', service.id, '--yes')
    await sites.edgeA.ip(['route del default'])
  })

  it('a default route through the mesh leaves the directly attached networks and the mesh itself alone', async () => {
    const { a, sites } = mesh
    const service = await a.connect({ source: 'edge-a', target: 'edge-b', routes: [['--dest-cidr', '0.0.0.0/0']] })
    await a.active(service.id)
    await until('the server', async () => (await ping(sites.client, SERVER.v4, { count: 1 })).received === 1, {
      timeoutMs: 5000
    })
    assert.equal(await whoami(), EDGE_B.lan4)
    assert.equal((await ping(sites.client, '10.1.0.1')).received, 3)
    assert.equal((await ping(sites.edgeA, '10.1.0.2')).received, 3)
    assert.equal((await ping(sites.edgeA, EDGE_B.wire4)).received, 3)
    assert.ok((await a.peers()).every(({ reachable }) => reachable))
    await a.ask('services', 'delete', service.id, '--yes')
  })
})
