import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { createMarks } from '../../src/dataplane/marks.ts'
import { wantedRoutes, wantedRules } from '../../src/dataplane/policy.ts'
import { compile } from '../../src/dataplane/route-table.ts'
import { changesOf } from '../../src/dataplane/ruleset-change.ts'
import type { NftObject } from '../../src/dataplane/ruleset-objects.ts'
import { rulesetObjects, tableText, type Steering } from '../../src/dataplane/ruleset.ts'
import * as arbitrary from './support/arbitraries.ts'
import { listed } from './support/listed.ts'
import { Namespace, needsKernel, wire } from './support/namespace.ts'
import { route, serviceId } from './support/states.ts'
import { edgeAddresses, steering, steerings } from './support/steerings.ts'

const script = (name: string): string => fileURLToPath(new URL(`support/${name}.ts`, import.meta.url))

function counters(ns: Namespace): Record<string, number> {
  const { nftables } = JSON.parse(ns.run('nft', '-j', 'list', 'counters', 'table', 'inet', 'arctic')) as {
    nftables: { counter?: { name: string; packets: number } }[]
  }
  return Object.fromEntries(
    nftables.flatMap(({ counter }) => (counter == null ? [] : [[counter.name, counter.packets]]))
  )
}

describe('ruleset in the kernel', function () {
  this.timeout(60_000)
  this.slow(5_000)
  let edge: Namespace
  let client: Namespace

  before(needsKernel)
  beforeEach(() => {
    edge = new Namespace()
    client = new Namespace()
    // The device of a service and the general interface are both wires to the client.
    wire(client, 'c0', ['192.168.9.2/30', 'fd99::2/126'], edge, 'eth0', ['192.168.9.1/30', 'fd99::1/126'])
    wire(client, 'c1', ['192.168.8.2/30', 'fd98::2/126'], edge, 'dev0', ['192.168.8.1/30', 'fd98::1/126'])
    edge.ip('link add d0 type bridge', 'link set d0 up')
    for (const address of edgeAddresses) edge.run('ip', 'address', 'add', address, 'dev', 'd0')
    edge.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    // Any address may be a source in the client, and the routes out of it are asked first.
    client.ip('route add local 172.20.0.0/16 dev lo')
    client.run('sysctl', '-qw', 'net.ipv6.ip_nonlocal_bind=1')
    client.ip('rule add priority 1 lookup 50', '-6 rule add priority 1 lookup 50')
    client.ip(
      'rule del priority 0',
      '-6 rule del priority 0',
      'rule add priority 2 lookup local',
      '-6 rule add priority 2 lookup local'
    )
    // Neighbours known: a packet that waits for one would be counted in a later case.
    for (const neighbour of ['192.168.9.1', '192.168.8.1', 'fd99::1', 'fd98::1'])
      client.run('ping', '-c1', '-W3', neighbour)
  })
  afterEach(() => {
    edge.remove()
    client.remove()
  })

  it('steers each packet to the service that the route table names', async () => {
    const sender = client.spawn(process.execPath, [script('sender')])
    const lines = createInterface({ input: sender.stdout! })
    await once(lines, 'line')
    let taken = 0
    const cases = fc.tuple(
      arbitrary.services(['dev0']),
      fc.constantFrom('eth0', 'dev0'),
      fc.array(arbitrary.packet(['eth0']), { minLength: 24, maxLength: 24 })
    )
    const property = fc.asyncProperty(cases, async ([services, on, packets]) => {
      const wanted = steering(services)
      const via = on === 'eth0' ? ['192.168.9.1', 'fd99::1', 'c0'] : ['192.168.8.1', 'fd98::1', 'c1']
      client.ip(
        `route replace 172.20.0.0/16 via ${via[0]} dev ${via[2]} table 50`,
        `-6 route replace fd20::/112 via ${via[1]} dev ${via[2]} table 50`
      )
      edge.input('nft', ['-f', '-'], tableText(rulesetObjects(wanted)))
      const sent = packets.map(({ source, dest }) => ({ source: arbitrary.text(source), dest: arbitrary.text(dest) }))
      sender.stdin!.write(`${JSON.stringify({ packets: sent })}\n`)
      await once(lines, 'line')

      const expected: Record<string, number> = {}
      for (const { source, dest } of packets) {
        const member = wanted.members.some(
          ({ address }) => address.family === dest.family && address.value === dest.value
        )
        const service = member ? undefined : wanted.table.match({ interface: on, source, dest })?.serviceId
        if (service == null) continue
        expected[`in_${service}`] = (expected[`in_${service}`] ?? 0) + 1
        taken++
      }
      const counted = Object.fromEntries(
        Object.entries(counters(edge)).filter(([name, n]) => n > 0 && name.startsWith('in_'))
      )
      assert.deepEqual(counted, expected)
    })
    await fc.assert(property, { numRuns: 30 })
    assert.ok(taken > 100, `only ${taken} packets were taken`)
  })

  it('comes to the same by what differs as by being loaded whole, from any state to any other', () => {
    let commands = 0
    const property = fc.property(fc.array(steerings, { minLength: 2, maxLength: 5 }), (states) => {
      let held: Steering | null = null
      for (const next of states) {
        const changes = held == null ? null : changesOf(rulesetObjects(held), rulesetObjects(next))
        edge.input('nft', ['-f', '-'], changes == null ? tableText(rulesetObjects(next)) : `${changes.join('\n')}\n`)
        commands += changes?.length ?? 0
        held = next
      }
      const changed = listed(edge)
      edge.input('nft', ['-f', '-'], tableText(rulesetObjects(held!)))
      assert.deepEqual(changed, listed(edge))
      assert.deepEqual(changesOf(rulesetObjects(held!), rulesetObjects(held!)), [])
    })
    fc.assert(property, { numRuns: 40 })
    assert.ok(commands > 400, `only ${commands} commands`)
  })

  it('changes one route of 10,000 by one element', () => {
    const id = serviceId(1)
    const of = (count: number): NftObject[] =>
      rulesetObjects(
        steering([
          {
            id,
            device: null,
            routes: Array.from({ length: count }, (_, i) => route(i, id, { destCidr: `10.${i >> 8}.${i & 255}.0/24` }))
          }
        ])
      )
    const [more, less] = [changesOf(of(9_999), of(10_000)), changesOf(of(10_000), of(9_999))]
    assert.deepEqual(more, [`add element inet arctic route_4_x_24 { 10.39.15.0 : goto service_${id} }`])
    assert.deepEqual(less, ['delete element inet arctic route_4_x_24 { 10.39.15.0 }'])
  })

  it('loads 10,000 routes in one transaction, and is fast enough for a change by hand', () => {
    const id = serviceId(1)
    const routes = Array.from({ length: 10_000 }, (_, i) =>
      route(
        i,
        id,
        i % 2 === 0
          ? { destCidr: `10.${i >> 8}.${i & 255}.0/24` }
          : { sourceCidr: '10.0.0.0/8', destCidr: `fd00:${i.toString(16)}::/64` }
      )
    ).map((r, i) => (i % 2 === 0 ? r : { ...r, sourceCidr: 'fd00::/16' }))
    const began = performance.now()
    const text = tableText(rulesetObjects(steering([{ id, device: null, routes }])))
    const compiled = performance.now()
    edge.input('nft', ['-f', '-'], text)
    const loaded = performance.now()
    console.log(`      10,000 routes: text ${Math.round(compiled - began)} ms, nft ${Math.round(loaded - compiled)} ms`)
    assert.ok(loaded - began < 5_000)
  })

  it('keeps the values of its counters over a replacement', () => {
    const services = [{ id: serviceId(1), device: null, routes: [route(1, serviceId(1), { destCidr: '10.2.0.0/24' })] }]
    edge.input(
      'nft',
      ['-f', '-'],
      tableText(rulesetObjects(steering(services)), new Map([[`in_${serviceId(1)}`, { packets: 3, bytes: 99 }]]))
    )
    assert.equal(counters(edge)[`in_${serviceId(1)}`], 3)
  })

  it('lets nothing marked leave by another device', () => {
    const services = [{ id: serviceId(1), device: null, routes: [route(1, serviceId(1), { destCidr: '10.2.0.0/24' })] }]
    edge.input('nft', ['-f', '-'], tableText(rulesetObjects(steering(services))))
    client.ip('route add 10.2.0.0/24 via 192.168.9.1')
    edge.ip('route add 10.2.0.0/24 dev d0')
    // No policy rule at all: what is marked for the tunnel would go by the main table, in the clear.
    client.run('sh', '-c', 'ping -c3 -i0.2 -W1 10.2.0.2 || true')
    assert.equal(counters(edge)['guarded'], 3)
  })

  it('keeps two clients apart that have one address and one port behind two tunnels', async () => {
    const other = new Namespace()
    const server = new Namespace()
    try {
      // Wires stand in for the tunnels: what matters is the device a packet comes out of.
      const clients = [client, other]
      for (const [i, ns] of clients.entries()) wire(ns, 't0', ['10.1.0.2/24'], edge, `tun${i + 1}`, [])
      wire(server, 's0', ['10.2.0.2/24'], edge, 's1', ['10.2.0.1/24'])
      for (const ns of clients) ns.ip('route add 10.2.0.0/24 dev t0')
      edge.run('sysctl', '-qw', 'net.ipv4.conf.tun1.proxy_arp=1', 'net.ipv4.conf.tun2.proxy_arp=1')
      const marks = createMarks()
      const tunnels = [1, 2].map((index) => ({
        index,
        device: `tun${index}`,
        covers: compile(
          [
            {
              id: serviceId(index),
              device: null,
              routes: [route(index, serviceId(index), { destCidr: '10.2.0.0/24' })]
            }
          ],
          { own: [], attached: [] }
        )
      }))
      for (const line of wantedRoutes(marks, tunnels)) edge.ip(`route add ${line}`)
      for (const line of wantedRules(marks, tunnels)) edge.ip(`rule add ${line}`)
      edge.input('nft', ['-f', '-'], tableText(rulesetObjects(steering([], { tunnels }))))

      const echo = (ns: Namespace, address: string): Promise<unknown> =>
        once(ns.spawn(process.execPath, [script('echo'), address, '7000']).stdout!, 'data')
      await Promise.all([echo(server, '10.2.0.2'), echo(edge, '10.2.0.1')])
      for (const address of ['10.2.0.2', '10.2.0.1']) {
        const answers = clients.map((ns, i) => {
          const child = ns.spawn(process.execPath, [script('ask'), 'udp', address, '7000', `client ${i}`, '5555'])
          return once(child.stdout!, 'data').then(([data]) => String(data).trim())
        })
        assert.deepEqual(await Promise.all(answers), ['from 10.2.0.1: client 0', 'from 10.2.0.1: client 1'])
      }
    } finally {
      other.remove()
      server.remove()
    }
  })
})
