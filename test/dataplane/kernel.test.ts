import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { until } from '../../lab/wait.ts'
import type { DesiredState } from '../../src/dataplane/desired.ts'
import { engineDroppedAfterMs, monitorStartMs } from '../../src/dataplane/limits.ts'
import { comes, inTime } from './support/in-time.ts'
import { Driver, Namespace, needsKernel, readJson, temporaryState, wire } from './support/namespace.ts'
import { desired, deviceServiceId, inbound, outbound, peer, route, serviceId } from './support/states.ts'

/** An edge host with a client network, a wire to another host, and somebody else's rules. */
function edgeHost(): { edge: Namespace; client: Namespace } {
  const edge = new Namespace()
  const client = new Namespace()
  wire(client, 'c0', ['10.1.0.2/24', 'fd01::2/64'], edge, 'e0', ['10.1.0.1/24', 'fd01::1/64'])
  edge.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  edge.input(
    'nft',
    ['-f', '-'],
    'table inet other {\n chain input {\n type filter hook input priority 0; policy accept;\n tcp dport 22 accept\n}\n}\n'
  )
  edge.ip('rule add fwmark 0x4000/0xc000 lookup 100 priority 100', 'route add 10.77.0.0/16 dev e0 table 100')
  client.ip('route add default via 10.1.0.1', '-6 route add default via fd01::1')
  return { edge, client }
}

/** A neighbour that nobody tells asks anew after 5 s at least: by then it must have been told. */
const neighboursKnowMs = 4_500

const b = peer(2)
const one = serviceId(1)
const steady = desired({
  peers: [b],
  endpoints: ['10.9.0.2:7946', '10.9.0.2:7947'],
  outbound: [outbound(one, b, [route(1, one, { destCidr: '10.2.0.0/24' }), route(2, one, { destCidr: 'fd02::/64' })])],
  inbound: [inbound(serviceId(2), b, [route(3, serviceId(2), { destCidr: '10.1.0.0/24' })])]
})

describe('dataplane in the kernel', function () {
  this.timeout(20_000)
  this.slow(2_000)
  let edge: Namespace
  let client: Namespace
  let state: ReturnType<typeof temporaryState>
  let driver: Driver

  before(needsKernel)
  beforeEach(() => {
    ;({ edge, client } = edgeHost())
    state = temporaryState()
    driver = new Driver(edge, state)
  })
  afterEach(() => {
    edge.remove()
    client.remove()
    state.remove()
  })

  it('applies a state: table, rules, tables that end in unreachable, devices, engines, configs', async () => {
    await driver.start()
    const applied = await driver.apply(steady)
    assert.equal(applied.failure, null)
    assert.deepEqual(Object.keys(applied.services).toSorted(), [one, serviceId(2)])
    for (const service of Object.values(applied.services)) {
      assert.equal(service.failure, null)
      assert.deepEqual(service.warnings, [])
    }
    const listing = edge.run('nft', 'list', 'table', 'inet', 'arctic')
    assert.match(listing, /tproxy ip to 127\.0\.0\.1:41000/)
    assert.match(listing, /tproxy ip6 to \[::1\]:41000/)
    for (const family of ['-4', '-6']) {
      const rules = edge.run('ip', family, 'rule')
      assert.match(rules, /7946:.*fwmark 0x2000000\/0xff000000 lookup 79460/)
      assert.match(rules, /7946:.*fwmark 0x3000000\/0xff000000 lookup 79461/)
      assert.match(
        edge.run('ip', family, 'route', 'show', 'table', '79461'),
        /default dev arct-[0-9a-f]{8}[\s\S]*unreachable default/
      )
    }
    const tempest = readJson(join(state.stateDir, 'tempest/config.json'))
    assert.deepEqual(
      (tempest['tunnels'] as { peer_id: string }[]).map(({ peer_id }) => peer_id),
      [b.id]
    )
    for (const engine of ['pegasus', 'tempest']) {
      const file = join(state.stateDir, engine, 'config.json')
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.equal(JSON.stringify(readJson(file)).includes('private'), false)
      assert.equal(readJson(file)['generation'], applied.generation)
    }
    await driver.stop('remove')
  })

  it('leaves every table, rule and sysctl of others byte for byte as it was', async () => {
    const before = edge.snapshot()
    await driver.start()
    await driver.apply(steady)
    assert.notEqual(edge.snapshot(), before)
    await driver.stop('remove')
    assert.equal(edge.snapshot(), before)
    assert.deepEqual(edge.pids(), [])
  })

  it('removes what a service had when it is gone, and tunnels with their last service', async () => {
    await driver.start()
    await driver.apply(steady)
    await driver.apply(desired({ endpoints: steady.endpoints }))
    const listing = edge.run('nft', 'list', 'table', 'inet', 'arctic')
    assert.doesNotMatch(listing, /01SVC|10\.2\.0\.0/)
    assert.doesNotMatch(edge.run('ip', 'rule'), /79461/)
    assert.equal(edge.run('ip', 'route', 'show', 'table', 'all').includes('79461'), false)
    assert.equal(edge.run('ip', '-br', 'link').includes('arct-'), false)
    await driver.stop('remove')
  })

  it('puts everything back within a second when another tool flushes the ruleset', async () => {
    await driver.start()
    await driver.apply(steady)
    const listing = edge.run('nft', '-s', 'list', 'table', 'inet', 'arctic')
    await inTime(1_000, 'all of it', async () => {
      driver.events.length = 0
      edge.run('nft', 'flush', 'ruleset')
      await driver.event('kernel.repaired')
    })
    assert.equal(edge.run('nft', '-s', 'list', 'table', 'inet', 'arctic'), listing)
    assert.ok(
      driver.log.some(
        ({ module, level, what }) => module === 'netmgr' && level === 'warn' && /inet arctic/.test(String(what))
      )
    )
    await driver.stop('remove')
  })

  it('puts back a rule, a route, a device and a changed chain', async () => {
    await driver.start()
    await driver.apply(steady)
    const whole = edge.snapshot().replaceAll(/\d+: |counter.*\n.*\n/g, '')
    const device = /arct-[0-9a-f]{8}/.exec(whole)?.[0] ?? ''
    const damages: [what: RegExp, ...command: string[]][] = [
      [/IPv4 rule/, 'ip', 'rule', 'delete', 'priority', '7946'],
      [/IPv6 route/, 'ip', '-6', 'route', 'flush', 'table', '79461'],
      [/rules in nftables/, 'nft', 'flush', 'chain', 'inet', 'arctic', 'never'],
      [/device arct/, 'ip', 'link', 'delete', 'dev', device]
    ]
    for (const [what, program, ...args] of damages) {
      await inTime(1_500, String(what), async () => {
        driver.events.length = 0
        edge.run(program ?? '', ...args)
        await driver.event('kernel.repaired', (event: { what: string }) => what.test(event.what))
      })
    }
    // Its routes went with the device and follow it.
    await comes('a route into the tunnel', () =>
      edge.run('ip', '-6', 'route', 'show', 'table', '79461').includes('default dev arct')
    )
    assert.match(edge.run('ip', 'rule'), /lookup 79461/)
    await driver.stop('remove')
  })

  it('fills the table that is there and never replaces it: for an agent that starts again, for a repair, for a change after damage', async () => {
    // The kernel gives no handle twice. Who replaces a table lets some packets by.
    const handles = (): string[] =>
      ['table inet arctic', 'map route_4_x_24', 'map tunnel_packets', 'chain prerouting', 'counter guarded'].map(
        (name) =>
          new RegExp(`${name} \\{ # handle \\d+`).exec(edge.run('nft', '-a', 'list', 'table', 'inet', 'arctic'))?.[0] ??
          ''
      )
    const listing = (): string => edge.run('nft', '-s', 'list', 'table', 'inet', 'arctic')
    await driver.start()
    await driver.apply(steady)
    const [before, wanted] = [handles(), listing()]
    assert.ok(!before.includes(''), before.join())
    await driver.kill()
    edge.run('nft', 'add chain inet arctic theirs')
    edge.run('nft', 'add rule inet arctic never jump theirs')

    driver = new Driver(edge, state)
    await driver.start()
    await driver.apply(steady)
    assert.deepEqual(handles(), before)
    assert.equal(listing(), wanted)

    await new Promise((resolve) => setTimeout(resolve, monitorStartMs + 500))
    edge.run('nft', 'flush chain inet arctic guard')
    await driver.event('kernel.repaired')
    assert.deepEqual(handles(), before)
    assert.equal(listing(), wanted)

    edge.run('nft', 'flush chain inet arctic guard')
    await driver.apply(desired({ ...steady, inbound: [] }))
    await driver.apply(steady)
    assert.match(edge.run('nft', 'list', 'chain', 'inet', 'arctic', 'guard'), /@paths/)
    assert.deepEqual(handles().slice(0, 2), before.slice(0, 2))
    await driver.stop('remove')
  })

  it('knows of what the host has been given between two changes, and mends what was broken just before one', async () => {
    await driver.start()
    await driver.apply(steady)
    // By then it listens to the kernel, and reads nothing anew that it has heard nothing of.
    await new Promise((resolve) => setTimeout(resolve, monitorStartMs + 500))
    const more = (n: number): DesiredState => {
      const routes = [route(1, one, { destCidr: '10.2.0.0/24' }), route(n + 10, one, { destCidr: `10.66.${n}.0/24` })]
      return desired({ ...steady, outbound: [outbound(one, b, routes)] })
    }
    assert.deepEqual((await driver.apply(more(1))).services[one]?.warnings, [])
    edge.ip('link add d7 type bridge', 'link set d7 up')
    edge.run('ip', 'route', 'add', '10.66.0.0/16', 'dev', 'd7')
    await new Promise((resolve) => setTimeout(resolve, 300))
    const warnings = (await driver.apply(more(2))).services[one]?.warnings ?? []
    assert.match(warnings.map(({ message }) => message).join(), /10\.66\.2\.0\/24/)

    edge.run('nft', 'delete', 'table', 'inet', 'arctic')
    await driver.apply(more(3))
    assert.match(edge.run('nft', 'list', 'table', 'inet', 'arctic'), /10\.66\.3\.0/)
    assert.match(edge.run('nft', 'list', 'table', 'inet', 'arctic'), /10\.2\.0\.0/)
    edge.run('nft', 'flush', 'chain', 'inet', 'arctic', 'guard')
    await driver.apply(more(4))
    await driver.event('kernel.repaired').catch(() => {})
    assert.match(edge.run('nft', 'list', 'chain', 'inet', 'arctic', 'guard'), /@paths/)
    await driver.stop('remove')
  })

  it('puts back the sysctls of its devices, and what went with them, within a second', async () => {
    const id = deviceServiceId(1)
    const device = { ipv4Cidr: '10.1.0.50/24', ipv6Cidr: 'fd01::50/64' }
    await driver.start()
    await driver.apply(
      desired({ ...steady, outbound: [...steady.outbound, outbound(id, b, [route(9, id, {})], { interface: device })] })
    )
    await new Promise((resolve) => setTimeout(resolve, monitorStartMs + 500))
    const own = id.slice(0, 15).toLowerCase()
    const tunnel = /arct-[0-9a-f]{8}/.exec(edge.run('ip', '-br', 'link'))?.[0] ?? ''
    const now = (): string =>
      [
        edge.run('sysctl', '-a', '-r', `conf\\.(${own}|${tunnel})\\.(rp_filter|forwarding|disable_ipv6|accept_ra)$`),
        edge.run('ip', '-6', 'route', 'show', 'table', '79461'),
        edge.run('ip', '-br', 'address', 'show', 'dev', own).replace(/fe80\S+/, '')
      ].join('\n')
    const before = now()
    for (const changes of [
      [`net.ipv4.conf.${tunnel}.forwarding=0`, `net.ipv4.conf.${own}.rp_filter=1`],
      ['net.ipv4.ip_forward=0', 'net.ipv4.ip_forward=1'],
      [`net.ipv6.conf.${tunnel}.disable_ipv6=1`, `net.ipv6.conf.${own}.disable_ipv6=1`]
    ]) {
      await inTime(1_500, changes.join(' '), async () => {
        edge.run('sysctl', '-qw', ...changes)
        await comes('what it was before', () => now() === before)
      })
    }
    await driver.stop('remove')
  })

  it('stops taking a network, and takes it again, within a second of its being attached by a route and detached', async () => {
    await driver.start()
    const broad = [route(1, one, { destCidr: '10.66.0.0/15' })]
    await driver.apply(desired({ ...steady, outbound: [outbound(one, b, broad)] }))
    await new Promise((resolve) => setTimeout(resolve, monitorStartMs + 500))
    const taken = (expected: boolean): Promise<void> =>
      comes(`10.66.7.0/24 taken: ${expected}`, () => {
        const chain = edge.run('nft', 'list', 'chain', 'inet', 'arctic', 'route4')
        return chain.includes('10.66.7.0/24') !== expected
      })
    await inTime(2_000, 'both together', async () => {
      edge.run('ip', 'route', 'add', '10.66.7.0/24', 'dev', 'e0')
      await taken(false)
      edge.run('ip', 'route', 'del', '10.66.7.0/24', 'dev', 'e0')
      await taken(true)
    })
    await driver.stop('remove')
  })

  it('puts nothing back that is asked for, or found missing, while it ends', async () => {
    const before = edge.snapshot()
    await driver.start()
    await driver.apply(steady)
    const ended = driver.stop('remove')
    const late = driver.apply(steady)
    await ended
    assert.equal((await late).failure?.reason, 'Stopped')
    assert.equal(edge.snapshot(), before)
  })

  it('adopts running engines and devices after SIGKILL of the agent, and cleans up what is no longer wanted', async () => {
    await driver.start()
    await driver.apply(steady)
    const pids = (await driver.engines()).map(({ pid }) => pid)
    const index = edge.run('ip', '-j', 'link').match(/"ifindex":(\d+),"ifname":"arct-/)?.[1]
    await driver.kill()

    driver = new Driver(edge, state)
    await driver.start()
    assert.deepEqual(
      (await driver.engines()).map(({ pid }) => pid),
      pids
    )
    const applied = await driver.apply(steady)
    assert.ok(applied.generation > 1)
    assert.equal(edge.run('ip', '-j', 'link').match(/"ifindex":(\d+),"ifname":"arct-/)?.[1], index)
    await driver.kill()
    const engines = pids.map(String).toSorted().toString()
    await until('nothing but the engines to be left', () => edge.pids().map(String).toSorted().toString() === engines, {
      timeoutMs: 2_000
    })

    driver = new Driver(edge, state)
    await driver.start()
    await driver.apply(desired({}))
    assert.equal(edge.run('ip', '-br', 'link').includes('arct-'), false)
    await driver.stop('remove')
    assert.deepEqual(edge.pids(), [])
  })

  it('starts a killed engine again and tells it its whole state within two seconds', async () => {
    await driver.start()
    await driver.apply(steady)
    let killed = 0
    await inTime(2_000, 'its start and its state', async () => {
      const [pegasus] = await driver.engines()
      driver.events.length = 0
      process.kill(pegasus?.pid ?? 0, 'SIGKILL')
      killed++
      await driver.event('engine.exited')
      await driver.event(
        'engine.started',
        (event: { pid: number; engine: string }) => event.engine === 'pegasus' && event.pid !== pegasus?.pid
      )
      await comes('it has its state', async () => {
        const status = (await driver.engines())[0]
        return status?.state === 'ready' && status.generation != null
      })
    })
    assert.equal((await driver.engines())[0]?.restarts, killed)
    await driver.stop('remove')
  })

  it('an engine that has dropped the connection to the agent is not gone: it is told its state anew, and nothing is taken back', async () => {
    await driver.start()
    await driver.apply(steady)
    const before = await driver.engines()
    const listing = edge.run('nft', '-s', 'list', 'table', 'inet', 'arctic')
    const states = join(state.stateDir, 'pegasus', 'control.sock.states')
    const told = (): number => readFileSync(states, 'utf8').trim().split('\n').length
    const toldBefore = told()
    await new Promise((resolve) => setTimeout(resolve, engineDroppedAfterMs + 500))
    driver.events.length = 0
    process.kill(before[0]?.pid ?? 0, 'SIGUSR2')
    await driver.event('engine.started', (event: { adopted: boolean }) => event.adopted)
    await comes('it is told its state', () => told() > toldBefore)
    assert.equal(edge.run('nft', '-s', 'list', 'table', 'inet', 'arctic'), listing)
    assert.ok(!driver.events.some(({ type }) => type === 'engine.exited'), JSON.stringify(driver.events))
    const after = await driver.engines()
    assert.deepEqual(
      after.map(({ pid, state: now, restarts }) => [pid, now, restarts]),
      before.map(({ pid }) => [pid, 'ready', 0])
    )
    // One that does it again and again is gone each time, and looked for after a pause.
    process.kill(before[0]?.pid ?? 0, 'SIGUSR2')
    await driver.event('engine.exited')
    await comes('it is found again', async () => (await driver.engines())[0]?.state === 'ready')
    await driver.stop('remove')
  })

  it('makes a MACVLAN device for a service that requires an interface, and says when the name is taken', async () => {
    const id = deviceServiceId(1)
    const withDevice = desired({
      peers: [b],
      outbound: [
        outbound(id, b, [route(1, id, {})], { interface: { ipv4Cidr: '10.1.0.50/24', ipv6Cidr: 'fd01::50/64' } })
      ]
    })
    const before = edge.snapshot()
    await driver.start()
    const applied = await driver.apply(withDevice)
    assert.deepEqual(applied.services[id]?.failure, null)
    const device = applied.services[id]?.interface
    assert.equal(device?.name, id.slice(0, 15).toLowerCase())
    assert.equal(device?.ipv4, '10.1.0.50/24')
    assert.equal(device?.ipv6, 'fd01::50/64')
    assert.match(client.run('ping', '-c1', '-W2', '10.1.0.50'), / 0% packet loss/)
    // A killed agent's device and its ARP rules go with the first state that does not want them.
    await driver.kill()
    driver = new Driver(edge, state)
    await driver.start()
    await driver.apply(desired({}))
    assert.doesNotMatch(edge.run('nft', 'list', 'tables'), /arp arctic/)
    await driver.apply(withDevice)
    assert.match(edge.run('nft', 'list', 'tables'), /arp arctic/)
    await driver.stop('remove')
    assert.equal(edge.snapshot(), before)

    edge.ip(`link add ${id.slice(0, 15).toLowerCase()} type bridge`)
    driver = new Driver(edge, state)
    await driver.start()
    const refused = await driver.apply(withDevice)
    assert.equal(refused.services[id]?.failure?.reason, 'InterfaceConflict')
    await driver.stop('remove')
  })

  it('an address that goes from one service to another is found at its new device at once', async () => {
    const addresses = { ipv4Cidr: '10.1.0.50/24', ipv6Cidr: 'fd01::50/64' }
    const having = (n: number): DesiredState => {
      const id = deviceServiceId(n)
      return desired({ peers: [b], outbound: [outbound(id, b, [route(n, id, {})], { interface: addresses })] })
    }
    const neighbours = (): string[] =>
      ['10.1.0.50', 'fd01::50'].map(
        (address) => /lladdr (\S+)/.exec(client.run('ip', 'neigh', 'show', address))?.[1] ?? 'nobody'
      )
    await driver.start()
    for (const n of [1, 2]) {
      const { services } = await driver.apply(having(n))
      const mac = services[deviceServiceId(n)]?.interface?.mac
      if (n === 1) for (const address of ['10.1.0.50', 'fd01::50']) client.run('ping', '-c1', '-W5', address)
      await comes(`the neighbours know ${mac}`, () => neighbours().every((known) => known === mac), neighboursKnowMs)
    }
    await driver.stop('remove')
  })

  it('says that another host has the IPv6 address which a device is to have', async () => {
    edge.run('sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=1')
    client.run('ip', 'address', 'add', 'fd01::99/64', 'dev', 'c0', 'nodad')
    const id = deviceServiceId(1)
    const taken = desired({
      peers: [b],
      outbound: [outbound(id, b, [route(1, id, {})], { interface: { ipv4Cidr: null, ipv6Cidr: 'fd01::99/64' } })]
    })
    await driver.start()
    await until(
      'the kernel to have found it out',
      async () => {
        const service = (await driver.apply(taken)).services[id]
        assert.equal(service?.interface?.ipv6, null)
        assert.match(
          service?.warnings.map(({ message }) => message).join() ?? '',
          /another host .* has fd01::99 already/
        )
        return true
      },
      { timeoutMs: 8_000 }
    )
    await driver.stop('remove')
  })

  it('says what an engine refuses, and that the host does not forward', async () => {
    edge.run('sysctl', '-qw', 'net.ipv4.ip_forward=0')
    await driver.start()
    const kcp = desired({
      peers: [b],
      outbound: [
        outbound(one, b, [route(1, one, { sourceCidr: '10.1.0.0/24', destCidr: '10.2.0.0/24' })], { transport: 'kcp' })
      ]
    })
    const service = (await driver.apply(kcp)).services[one]
    assert.equal(service?.failure?.reason, 'TransportUnsupported')
    assert.equal(service?.effectiveTransport, null)
    assert.equal(service?.warnings[0]?.reason, 'ForwardingDisabled')
    assert.match(service?.warnings[0]?.message ?? '', /net\.ipv4\.conf\.e0\.forwarding=1/)
    await driver.stop('remove')
  })

  it('brings 10,000 routes into force, and one more, and says how long it took', async () => {
    const routes = Array.from({ length: 10_000 }, (_, i) =>
      route(i, one, { destCidr: `10.${100 + (i >> 8)}.${i & 255}.0/24` })
    )
    await driver.start()
    const times: number[] = []
    for (const destCidr of ['172.16.0.0/12', '172.16.0.0/13']) {
      const at = performance.now()
      const many = desired({ peers: [b], outbound: [outbound(one, b, [...routes, route(10_000, one, { destCidr })])] })
      assert.equal((await driver.apply(many)).failure, null)
      times.push(Math.round(performance.now() - at))
    }
    console.log(`      10,000 routes applied in ${times.join(' and ')} ms`)
    await driver.stop('remove')
  })

  it('says at start what is missing: the capability, room for the socket path, an engine', async () => {
    const refusal = async (at: Driver): Promise<string> => {
      const reason = await at.start().then(() => assert.fail('it started'), String)
      // As an agent that cannot start does; it would hold the host until then.
      await at.kill()
      return reason
    }
    const unprivileged = new Driver(edge, state, ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'])
    assert.match(await refusal(unprivileged), /CAP_NET_ADMIN is missing.*--dataplane none/)
    const tooLong = new Driver(edge, { ...state, stateDir: join(state.stateDir, 'x'.repeat(100)) })
    assert.match(await refusal(tooLong), /at most 107; choose a shorter --state-dir/)
    const noEngine = new Driver(edge, { ...state, enginesDir: join(state.enginesDir, 'nowhere') })
    assert.match(await refusal(noEngine), /engine .*pegasus is missing; build it with "npm run setup"/)
    assert.doesNotMatch(edge.run('nft', 'list', 'tables'), /arctic/)
  })
})
