import assert from 'node:assert/strict'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { DesiredPeer, DesiredState, SteeringRoute } from '../../src/dataplane/desired.ts'
import { builtEngines, keyPair, needsEngines } from './support/engines.ts'
import { Driver, Namespace, needsKernel, temporaryState, wire } from './support/namespace.ts'
import { desired, deviceServiceId, inbound, outbound, route, serviceId } from './support/states.ts'

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

  /** A long TCP connection, line by line. */
  talk(from: Namespace, address: string): { say: (line: string) => void; hear: () => Promise<string> } {
    const child = from.spawn(process.execPath, [script('talk'), address, '7000'])
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
    return {
      say: (line) => void child.stdin!.write(`${line}\n`),
      hear: async () => String((await lines.next()).value)
    }
  }

  /** Counts what leaves edge-a for the server's networks without being carried. */
  watchForLeaks(): () => number {
    const rules =
      'counter leaked {}\nchain out {\n type filter hook postrouting priority 300; policy accept;\n oifname a1 ip daddr 10.2.0.0/24 counter name leaked\n oifname a1 ip6 daddr fd02::/64 counter name leaked\n}\n'
    this.a.input('nft', ['-f', '-'], `table inet watch {\n${rules}}\n`)
    return () => Number(/packets (\d+)/.exec(this.a.run('nft', 'list', 'counter', 'inet', 'watch', 'leaked'))?.[1])
  }

  remove(): void {
    for (const host of [this.client, this.a, this.b, this.server]) host.remove()
  }
}

describe('dataplane with both engines', function () {
  this.timeout(90_000)
  this.slow(4_000)
  let hosts: FourHosts
  let a: Driver
  let b: Driver
  let states: ReturnType<typeof temporaryState>[]
  let restartA: () => Driver
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
    const driverOf = (i: number): Driver => {
      const key = keys[i]!
      const privateKeys = { pegasus: key.pegasus.privateKey, tempest: key.tempest.privateKey }
      return new Driver(i === 0 ? hosts.a : hosts.b, {
        stateDir: states[i]!.stateDir,
        enginesDir: builtEngines() ?? '',
        privateKeys
      })
    }
    restartA = () => driverOf(0)
    const drivers = [driverOf(0), driverOf(1)]
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
    // The target first: a source that finds nobody there waits before it tries again.
    const applied = [await b.apply(state.b), await a.apply(state.a)]
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
    // The target host's own address too, though that host knows no way to the client.
    for (const own of ['10.2.0.1', 'fd02::1'])
      assert.match(hosts.client.run('ping', '-c2', '-i0.2', '-W2', own), / 0% packet loss/)
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

  it('keeps an open flow while the agent is killed, started again, restarted on purpose, and another route is added', async () => {
    await both(everything)
    const leaked = hosts.watchForLeaks()
    const flow = hosts.talk(hosts.client, '10.2.0.2')
    const inStep = async (line: string): Promise<void> => {
      flow.say(line)
      assert.equal(await flow.hear(), line)
    }
    assert.equal(await flow.hear(), 'from 10.2.0.1')
    await inStep('before')
    await a.kill()
    await inStep('while the agent is dead')
    a = restartA()
    await a.start()
    await a.apply(desiredOf(everything).a)
    await inStep('adopted')
    await a.stop('keep')
    await inStep('between two agents')
    a = restartA()
    await a.start()
    const more = desiredOf([...everything, route(3, id, { destCidr: '10.2.0.2/32' })])
    await a.apply(more.a)
    await inStep('with another route')
    assert.equal(leaked(), 0)
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('resets flows and sends nothing in the clear when Pegasus is killed, and carries again at once', async () => {
    await both(everything)
    const leaked = hosts.watchForLeaks()
    const flow = hosts.talk(hosts.client, '10.2.0.2')
    assert.equal(await flow.hear(), 'from 10.2.0.1')
    const chatter = setInterval(() => flow.say('x'.repeat(1_000)), 1)
    const [pegasus] = await a.engines()
    const at = performance.now()
    process.kill(pegasus?.pid ?? 0, 'SIGKILL')
    let heard = ''
    while (!heard.startsWith('ended')) heard = await flow.hear()
    clearInterval(chatter)
    while (hosts.ask(hosts.client, 'tcp', '10.2.0.2', 'again') !== 'from 10.2.0.1\nagain') {
      assert.ok(performance.now() - at < 5_000, 'not carried again')
    }
    assert.equal(leaked(), 0)
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('resets new and open flows as long as neither agent nor engine is there', async () => {
    await both(everything)
    const flows = ['10.2.0.2', 'fd02::2'].map((address) => hosts.talk(hosts.client, address))
    for (const flow of flows) assert.match(await flow.hear(), /^from /)
    const [pegasus] = await a.engines()
    await a.kill()
    process.kill(pegasus?.pid ?? 0, 'SIGKILL')
    for (const from of [hosts.client, hosts.a])
      for (const address of ['10.2.0.2', 'fd02::2'])
        assert.match(hosts.ask(from, 'tcp', address, 'x'), /^ECONN(REFUSED|RESET)$/, address)
    a = restartA()
    await a.start()
    await a.apply(desiredOf(everything).a)
    assert.equal(hosts.ask(hosts.client, 'tcp', '10.2.0.2', 'x'), 'from 10.2.0.1\nx')
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('carries no packet that conntrack, and so masquerading, makes nothing of', async () => {
    await both(everything)
    // Errors about packets that never were.
    const forge = 'chain forge {\n type filter hook output priority 0;\n icmp type echo-request icmp type set 3\n}\n'
    hosts.client.input('nft', ['-f', '-'], `table inet forge {\n${forge}}\n`)
    const sources =
      'chain sources {\n type filter hook input priority 0;\n ip saddr 10.1.0.0/24 counter name client\n}\n'
    hosts.server.input('nft', ['-f', '-'], `table inet watch {\ncounter client {}\n${sources}}\n`)
    hosts.client.run('sh', '-c', 'ping -c3 -i0.2 -W1 10.2.0.2 || true')
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'from 10.2.0.1: x')
    assert.match(hosts.server.run('nft', 'list', 'counter', 'inet', 'watch', 'client'), /packets 0 /)
    assert.match(hosts.b.run('nft', 'list', 'counter', 'inet', 'arctic', 'uncovered_1'), /packets [1-9]/)
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('sends nothing in the clear while the tunnel is missing', async () => {
    await both(everything)
    const leaked = hosts.watchForLeaks()
    const device = /arct-[0-9a-f]{8}/.exec(hosts.a.run('ip', '-br', 'link'))?.[0] ?? ''
    await a.kill()
    hosts.a.ip(`link delete dev ${device}`)
    hosts.client.run('sh', '-c', 'ping -c3 -i0.2 -W1 10.2.0.2 || true')
    hosts.client.run('sh', '-c', 'ping -c3 -i0.2 -W1 fd02::2 || true')
    assert.equal(leaked(), 0)
    a = restartA()
    await a.start()
    await a.apply(desiredOf(everything).a)
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'back'), 'from 10.2.0.1: back')
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  it('carries what enters by the device of a service, and only that', async () => {
    const own = deviceServiceId(1)
    const routes = [route(1, own, {})]
    const state = desiredOf([])
    const device = { ipv4Cidr: '10.1.0.50/24', ipv6Cidr: null }
    state.a.outbound = [outbound(own, state.a.peers[0]!, routes, { interface: device })]
    state.b.inbound = [inbound(own, state.b.peers[0]!, routes)]
    await b.apply(state.b)
    const applied = await a.apply(state.a)
    assert.equal(applied.services[own]?.failure, null)
    const leaked = hosts.watchForLeaks()
    // By the parent interface and its address nothing is carried, whatever the client asks by ARP first.
    hosts.client.run('ping', '-c1', '-W1', '10.1.0.1')
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'TIMEOUT')
    assert.ok(leaked() > 0)
    const clear = leaked()
    hosts.client.ip('route add 10.2.0.0/24 via 10.1.0.50')
    assert.equal(hosts.ask(hosts.client, 'tcp', '10.2.0.2', 'x'), 'from 10.2.0.1\nx')
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'from 10.2.0.1: x')
    assert.match(hosts.client.run('ping', '-c2', '-i0.2', '-W2', '10.2.0.2'), / 0% packet loss/)
    assert.equal(leaked(), clear)
    const counted = (await a.counters())[own]
    assert.ok((counted?.bytesIn ?? 0) > 0 && (counted?.bytesOut ?? 0) > 0, JSON.stringify(counted))
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })

  for (const filter of [1, 2])
    it(`carries UDP and ping where the hosts filter by reverse path (rp_filter=${filter})`, async () => {
      for (const edge of [hosts.a, hosts.b])
        for (const device of ['all', 'default', 'lo'])
          edge.run('sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=${filter}`)
      hosts.b.ip('route add default via 10.9.0.1')
      await both(everything)
      for (const from of [hosts.client, hosts.a]) {
        assert.equal(hosts.ask(from, 'udp', '10.2.0.2', 'x'), 'from 10.2.0.1: x')
        assert.match(from.run('ping', '-c2', '-i0.2', '-W2', '10.2.0.2'), / 0% packet loss/)
      }
      // Neither its own address nor the host's is taken to be the tunnel's.
      assert.doesNotMatch(hosts.a.run('ip', 'route', 'get', '192.0.2.1'), /169\.254/)
      await Promise.all([a.stop('remove'), b.stop('remove')])
    })

  it('lets nothing out of a tunnel that no service of that peer covers', async () => {
    const state = desiredOf(everything)
    state.b.inbound = [inbound(id, state.b.peers[0]!, [route(1, id, { destCidr: '10.2.0.77/32' })])]
    await b.apply(state.b)
    await a.apply(state.a)
    assert.equal(hosts.ask(hosts.client, 'udp', '10.2.0.2', 'x'), 'TIMEOUT')
    assert.match(hosts.b.run('nft', 'list', 'counter', 'inet', 'arctic', 'uncovered_1'), /packets [1-9]/)
    await Promise.all([a.stop('remove'), b.stop('remove')])
  })
})
