import assert from 'node:assert/strict'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { fileURLToPath } from 'node:url'
import type { DesiredPeer, DesiredState, SteeringRoute } from '../../src/dataplane/desired.ts'
import { builtEngines, keyPair, needsEngines } from './support/engines.ts'
import { Driver, Namespace, needsKernel, temporaryState, wire } from './support/namespace.ts'
import { desired, inbound, outbound, route, serviceId } from './support/states.ts'

const script = (name: string): string => fileURLToPath(new URL(`support/${name}.ts`, import.meta.url))

/** client 10.1.0.2 ── edge-a ══ wire 10.9.0.0/24 ══ edge-b ── server 10.2.0.2, IPv6 beside it. */
class FourHosts {
  readonly client = new Namespace()
  readonly a = new Namespace()
  readonly b = new Namespace()
  readonly server = new Namespace()

  constructor() {
    const { client, a, b, server } = this
    wire(client, 'c0', ['10.1.0.2/24', 'fd01::2/64'], a, 'a0', ['10.1.0.1/24', 'fd01::1/64'])
    wire(a, 'a1', ['10.9.0.1/24', 'fd09::1/64'], b, 'b1', ['10.9.0.2/24', 'fd09::2/64'])
    wire(b, 'b0', ['10.2.0.1/24', 'fd02::1/64'], server, 's0', ['10.2.0.2/24', 'fd02::2/64'])
    client.ip('route add default via 10.1.0.1', '-6 route add default via fd01::1')
    // The edges know a way in the clear (and the other side none back): what is not carried would show up there.
    a.ip('route add default via 10.9.0.2', '-6 route add default via fd09::2')
    for (const edge of [a, b]) edge.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  }

  async serve(address: string, port: number): Promise<void> {
    const child = this.server.spawn(process.execPath, [script('echo'), address, String(port)])
    await new Promise((resolve) => child.stdout!.once('data', resolve))
  }

  ask = (from: Namespace, protocol: 'tcp' | 'udp', address: string, text: string): string =>
    from.run(process.execPath, script('ask'), protocol, address, '7000', text).trim()

  remove(): void {
    for (const host of [this.client, this.a, this.b, this.server]) host.remove()
  }
}

describe('dataplane with both engines', function () {
  this.timeout(30_000)
  this.slow(4_000)
  let hosts: FourHosts
  let a: Driver
  let b: Driver
  let states: ReturnType<typeof temporaryState>[]
  let desiredOf: (routes: SteeringRoute[]) => { a: DesiredState; b: DesiredState }
  const id = serviceId(1)

  before(needsKernel)
  before(needsEngines)
  beforeEach(async () => {
    hosts = new FourHosts()
    states = [temporaryState(), temporaryState()]
    const keys = ['a', 'b'].map(() => ({ pegasus: keyPair(), tempest: keyPair() }))
    const peers = keys.map((key, i): DesiredPeer => ({
      id: `12D3KooWEdge${i}`,
      dataAddresses: [`10.9.0.${i + 1}:7947`],
      pegasusKey: key.pegasus.publicKey,
      tempestKey: key.tempest.publicKey
    }))
    const [peerA, peerB] = peers as [DesiredPeer, DesiredPeer]
    const endpoints = ['10.9.0.1:7947', '10.9.0.2:7947']
    desiredOf = (routes) => ({
      a: desired({ self: peerA.id, peers: [peerB], endpoints, outbound: [outbound(id, peerB, routes)] }),
      b: desired({ self: peerB.id, peers: [peerA], endpoints, inbound: [inbound(id, peerA, routes)] })
    })
    const drivers = [hosts.a, hosts.b].map((ns, i) => {
      const key = keys[i]!
      const privateKeys = { pegasus: key.pegasus.privateKey, tempest: key.tempest.privateKey }
      return new Driver(ns, { stateDir: states[i]!.stateDir, enginesDir: builtEngines() ?? '', privateKeys })
    })
    ;[a, b] = drivers as [Driver, Driver]
    await Promise.all(drivers.map((driver) => driver.start()))
    await Promise.all([hosts.serve('10.2.0.2', 7000), hosts.serve('fd02::2', 7000)])
  })
  afterEach(() => {
    hosts.remove()
    for (const state of states) state.remove()
  })

  const both = async (routes: SteeringRoute[]): Promise<void> => {
    const state = desiredOf(routes)
    const applied = await Promise.all([b.apply(state.b), a.apply(state.a)])
    for (const { failure, services } of applied) {
      assert.equal(failure, null)
      for (const service of Object.values(services)) assert.equal(service.failure, null)
    }
  }
  const everything = [route(1, id, { destCidr: '10.2.0.0/24' }), route(2, id, { destCidr: 'fd02::/64' })]

  it('carries TCP, UDP and ping for a client and for the edge itself, IPv4 and IPv6', async () => {
    await both(everything)
    for (const from of [hosts.client, hosts.a]) {
      assert.equal(hosts.ask(from, 'tcp', '10.2.0.2', 'hello'), 'from 10.2.0.1\nhello')
      assert.equal(hosts.ask(from, 'udp', '10.2.0.2', 'hello'), 'from 10.2.0.1: hello')
      assert.equal(hosts.ask(from, 'tcp', 'fd02::2', 'hello'), 'from fd02::1\nhello')
      assert.equal(hosts.ask(from, 'udp', 'fd02::2', 'hello'), 'from fd02::1: hello')
      assert.match(from.run('ping', '-c2', '-i0.2', '-W2', '10.2.0.2'), / 0% packet loss/)
      assert.match(from.run('ping', '-c2', '-i0.2', '-W2', 'fd02::2'), / 0% packet loss/)
    }
    const counted = (await a.counters())[id]
    assert.ok((counted?.bytesIn ?? 0) > 0 && (counted?.bytesOut ?? 0) > 0, JSON.stringify(counted))
    const arrived = (await b.counters())[id]
    assert.ok((arrived?.bytesIn ?? 0) > 0 && (arrived?.bytesOut ?? 0) > 0, JSON.stringify(arrived))
    const lines = b.log.filter(({ module, message }) => module === 'pegasus' && message === 'flow closed')
    assert.equal(lines.length, 4)
    assert.match(String(lines[0]?.['client']), /^10\.1\.0\.2:\d+$/)
    assert.equal(lines[0]?.['destination'], '10.2.0.2:7000')
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('stops carrying when the service is gone, and resets or drops what cannot be carried', async () => {
    await both(everything)
    assert.equal(hosts.ask(hosts.client, 'tcp', '10.2.0.2', 'x'), 'from 10.2.0.1\nx')
    await b.stop('remove')
    assert.equal(hosts.ask(hosts.client, 'tcp', '10.2.0.2', 'x'), 'ECONNRESET')
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'TIMEOUT')
    await a.apply(desired({}))
    // In the clear now: edge-b would forward it, but the server knows no way back to the client.
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'TIMEOUT')
    assert.equal(hosts.a.run('nft', 'list', 'table', 'inet', 'arctic').includes(id), false)
    await a.stop('remove')
  })
})
