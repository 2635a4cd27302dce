import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { describe, it } from 'mocha'
import { DeviceError, deviceCommands, serviceDevice, staleDevices, tunnelDevice } from '../../src/dataplane/devices.ts'
import { hostFacts, type HostFacts } from '../../src/dataplane/interfaces.ts'
import type { IpLink, IpRoute } from '../../src/dataplane/ip.ts'
import type { DesiredPeer, DesiredState, SteeringRoute } from '../../src/dataplane/desired.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import { onlyTakesAway, planDevices, planSteering } from '../../src/dataplane/plan.ts'
import { GENERAL_LISTENER, pegasusState } from '../../src/dataplane/pegasus.ts'
import { peerKeys } from '../../src/dataplane/peer-keys.ts'
import {
  actualRoutes,
  actualRules,
  wantedDeviceRules,
  wantedRoutes,
  wantedRules,
  without
} from '../../src/dataplane/policy.ts'
import { formatPrefix } from '../../src/dataplane/prefix.ts'
import { parsePacket } from '../../src/dataplane/route-table.ts'
import { rulesetObjects, tableText } from '../../src/dataplane/ruleset.ts'
import { assignIndexes, tempestState } from '../../src/dataplane/tempest.ts'
import { inboundWarnings, outboundWarnings } from '../../src/dataplane/warnings.ts'
import { desired, deviceServiceId, inbound, outbound, peer, route, serviceId } from './support/states.ts'

const link = (ifname: string, cidrs: string[], fields: Partial<IpLink> = {}): IpLink => ({
  ifindex: 1,
  ifname,
  flags: ['UP'],
  mtu: 1500,
  link_type: 'ether',
  addr_info: cidrs.map((cidr) => ({
    family: cidr.includes(':') ? 'inet6' : 'inet',
    local: cidr.split('/')[0] ?? '',
    prefixlen: Number(cidr.split('/')[1]),
    scope: 'global'
  })),
  ...fields
})
const via = (dst: string, dev: string, gateway?: string): IpRoute => ({
  type: '1',
  dst,
  dev,
  ...(gateway == null ? {} : { gateway })
})

const facts: HostFacts = hostFacts(
  [
    link('lo', ['127.0.0.1/8'], { flags: ['LOOPBACK', 'UP'] }),
    link('lan', ['10.1.0.1/24', 'fd01::1/64']),
    link('wan', ['10.9.0.1/30'])
  ],
  [
    via('default', 'wan', '10.9.0.2'),
    via('10.1.0.0/24', 'lan'),
    via('10.9.0.0/30', 'wan'),
    via('10.5.0.0/16', 'lan'),
    via('10.6.0.0/16', 'wan', '10.9.0.2')
  ],
  [via('fd01::/64', 'lan'), via('fe80::/64', 'lan')]
)
const marks = createMarks()
const target = peer(2)
const plan = (state: ReturnType<typeof desired>, at = facts) =>
  planDevices(state, { known: new Map(), facts: at, marks, parent: null })

describe('plan of the data plane', () => {
  it('knows the attached networks from addresses and on-link routes', () => {
    assert.deepEqual(facts.attached.map(formatPrefix).toSorted(), [
      '10.1.0.0/24',
      '10.5.0.0/16',
      '10.9.0.0/30',
      'fd01::/64'
    ])
  })

  it('puts a MACVLAN device on the interface of its address, else on that of the default route', () => {
    const [a, b] = [deviceServiceId(1), deviceServiceId(2)]
    const state = desired({
      peers: [target],
      outbound: [
        outbound(a, target, [], { interface: { ipv4Cidr: '10.1.0.50/24', ipv6Cidr: null } }),
        outbound(b, target, [], { interface: { ipv4Cidr: null, ipv6Cidr: null } })
      ]
    })
    const parents = plan(state).devices.flatMap((device) => (device.kind === 'macvlan' ? [device.parent] : []))
    assert.deepEqual(parents, ['lan', 'wan'])
    const tunnelled = hostFacts([link('wan', [], { link_type: 'none' })], [{ dst: 'default', dev: 'wan' }], [])
    assert.match(plan(state, tunnelled).failures.get(b)?.message ?? '', /wan, which is no Ethernet/)
    const nowhere = hostFacts([link('lan', ['10.1.0.1/24'])], [], [])
    assert.equal(plan(state, nowhere).failures.get(b)?.reason, 'MacvlanFailed')
  })

  it('moves the device to the interface of the address it is to have, and to no other', () => {
    const id = deviceServiceId(1)
    const parent = (ipv4Cidr: string | null, routes4: IpRoute[]): string[] => {
      const name = id.slice(0, 15).toLowerCase()
      const there = link(name, [], { link: 'wan', ifalias: `arctic service ${id}` })
      const state = desired({
        peers: [target],
        outbound: [outbound(id, target, [], { interface: { ipv4Cidr, ipv6Cidr: null } })]
      })
      return plan(state, hostFacts([link('lan', []), link('wan', []), there], routes4, [])).devices.flatMap((device) =>
        device.kind === 'macvlan' ? [device.parent] : []
      )
    }
    const lan = { dst: '10.1.0.0/24', dev: 'lan' }
    assert.deepEqual(parent('10.1.0.50/24', [lan, { dst: 'default', dev: 'wan' }]), ['lan'])
    // The same network twice, none of them, one only behind a gateway, no address: it stays where it is.
    assert.deepEqual(parent('10.1.0.50/24', [lan, { dst: '10.1.0.0/24', dev: 'wan' }]), ['wan'])
    assert.deepEqual(parent('10.7.0.50/24', [lan]), ['wan'])
    assert.deepEqual(parent('10.7.0.50/24', [{ dst: '10.0.0.0/8', dev: 'lan', gateway: '10.1.0.9' }]), ['wan'])
    assert.deepEqual(parent(null, [lan, { dst: 'default', dev: 'lan' }]), ['wan'])
  })

  it('gives no device an address that the host has on an interface of its own', () => {
    const facts = hostFacts([link('lan', ['10.1.0.1/24'])], [{ dst: '10.1.0.0/24', dev: 'lan' }], [])
    const failureOf = (ipv4Cidr: string): string | undefined => {
      const device = { interface: { ipv4Cidr, ipv6Cidr: null } }
      const state = desired({ peers: [target], outbound: [outbound(deviceServiceId(1), target, [], device)] })
      return plan(state, facts).failures.get(deviceServiceId(1))?.message
    }
    assert.equal(
      failureOf('10.1.0.1/16'),
      "10.1.0.1 is this host's address on lan; give the service one that nobody has"
    )
    assert.equal(failureOf('10.1.0.2/24'), undefined)
  })

  it('refuses the second of two services whose devices would have one name', () => {
    const ids = ['01AAAAAAAAAAAAAXXXXXXXXXX1', '01AAAAAAAAAAAAAXXXXXXXXXX2']
    const device = { ipv4Cidr: null, ipv6Cidr: null }
    const { failures } = plan(
      desired({ peers: [target], outbound: ids.map((id) => outbound(id, target, [], { interface: device })) })
    )
    assert.deepEqual(
      [...failures].map(([id, { reason }]) => [id, reason]),
      [[ids[1], 'InterfaceConflict']]
    )
  })

  it('never touches a device that is not ours, and makes ours right with few commands', () => {
    const wanted = serviceDevice(deviceServiceId(1), 'lan', [{ cidr: '10.1.0.50/24', shared: true }])
    assert.throws(
      () => deviceCommands(wanted, [link(wanted.name, [])]),
      (error) => error instanceof DeviceError && error.reason === 'InterfaceConflict'
    )
    const right = link(wanted.name, ['10.1.0.50/24'], {
      ifalias: wanted.alias,
      link: 'lan',
      linkinfo: { info_kind: 'macvlan' }
    })
    assert.deepEqual(deviceCommands(wanted, [right]), [])
    assert.deepEqual(deviceCommands(wanted, [{ ...right, addr_info: [] }]), [
      `address add 10.1.0.50/24 dev ${wanted.name} noprefixroute`
    ])
    assert.deepEqual(staleDevices([], [right, link('lan', [])]), [wanted.name])
    assert.deepEqual(staleDevices([wanted], [right]), [])
  })

  it('keeps the numbers of tunnels as long as peers stay', () => {
    const peers = fc.uniqueArray(fc.constantFrom<string>('a', 'b', 'c', 'd', 'e', 'f'))
    fc.assert(
      fc.property(peers, peers, fc.integer({ min: 1, max: 6 }), (before, after, max) => {
        const first = assignIndexes(before, new Map(), max)
        const second = assignIndexes(after, first, max)
        assert.equal(new Set(second.values()).size, second.size)
        assert.equal(second.size, Math.min(max, after.length))
        for (const [id, index] of first) if (after.includes(id)) assert.equal(second.get(id), index)
      })
    )
    assert.deepEqual(
      [
        ...assignIndexes(
          ['a', 'b'],
          new Map([
            ['a', 2],
            ['b', 2]
          ]),
          9
        )
      ],
      [
        ['a', 2],
        ['b', 1]
      ]
    )
  })

  it('compares policy by what the kernel says', () => {
    const tunnels = [{ index: 1, device: 'arct-1' }]
    const rules = [
      { priority: 7946, fwmark: '0x2000000', fwmask: '0xff000000', table: '79460', protocol: '79' },
      { priority: 7946, fwmark: '0x3000000', fwmask: '0xff000000', table: '79461', protocol: '79' },
      { priority: 32768, oif: 'd1', table: '79460', protocol: '79' },
      { priority: 100, fwmark: '0x1', table: '9', protocol: '2' }
    ]
    const wanted = [...wantedRules(marks, tunnels), ...wantedDeviceRules(marks, ['d1'])]
    assert.deepEqual(without(wanted, actualRules(rules, marks)), [])
    assert.deepEqual(without(actualRules(rules, marks), wanted), [])
    const routes = [
      { type: '2', dst: 'default', dev: 'lo', table: '79460' },
      { type: '7', dst: 'default', dev: 'lo', metric: 4294967295, table: '79461' }
    ]
    assert.deepEqual(without(wantedRoutes(marks, tunnels), actualRoutes(routes, marks)), [
      'unicast default dev arct-1 table 79461 proto 79'
    ])
    assert.deepEqual(without(['a', 'a', 'b'], ['a']), ['a', 'b'])
    const own = { type: '2', dst: 'default', dev: 'own0', metric: 5, table: '79460' }
    assert.deepEqual(actualRoutes([own], marks), without(wantedRoutes(marks, [], ['own0']), wantedRoutes(marks, [])))
  })

  it('tells the engines what they need, and no more', () => {
    const [general, own] = [serviceId(1), deviceServiceId(1)]
    const state = desired({
      peers: [target],
      outbound: [
        outbound(general, target, [
          route(1, general, { destCidr: '10.0.0.0/8' }),
          route(2, general, { destCidr: '10.2.0.0/24' })
        ]),
        outbound(own, target, [route(3, own, {})], { interface: { ipv4Cidr: null, ipv6Cidr: null } })
      ],
      inbound: [inbound(serviceId(9), target, [route(4, serviceId(9), {})])]
    })
    const steering = planSteering(state, { plan: plan(state), failedDevices: new Set(), facts, marks })
    const keys = { before: null, known: new Set<string>() }
    const common = { dataListen: '0.0.0.0:7947', bypassMark: marks.bypass, keys }
    const pegasus = pegasusState(state, {
      ...common,
      kcpCongestionControl: false,
      table: steering.table,
      devices: steering.serviceDevices,
      ports: new Map([[GENERAL_LISTENER, 4000]])
    })
    assert.equal(pegasus.kcp_congestion_control, false)
    assert.deepEqual(pegasus.listeners, [
      {
        name: 'general',
        port: 4000,
        table: {
          attached: facts.attached.map(formatPrefix),
          routes: [
            { service_id: general, route_id: route(2, '', {}).id, source: null, dest: '10.2.0.0/24' },
            { service_id: general, route_id: route(1, '', {}).id, source: null, dest: '10.0.0.0/8' }
          ]
        }
      },
      { name: own.slice(0, 15).toLowerCase(), port: 0, service_id: own }
    ])
    assert.deepEqual(pegasus.inbound[0]?.routes, [])
    assert.equal(pegasus.inbound[0]?.any, true)
    const tempest = tempestState(state, { ...common, devices: steering.tunnelDevices })
    assert.deepEqual(
      tempest.tunnels.map(({ peer_id, device }) => [peer_id, device]),
      [[target.id, tunnelDevice(target.id).name]]
    )
    assert.deepEqual(Object.keys(pegasus.peers[0]!), ['peer_id', 'public_key', 'addresses'])
    assert.ok(!Object.keys(tempest.tunnels[0]!).some((field) => field.includes('before')))
  })

  it('tells of keys that are being changed: of a peer both, and which of ours it knows', () => {
    const keysBefore = { pegasus: 'p-before', tempest: 't-before' }
    const { id, pegasusKey, tempestKey } = target
    const told = (engine: 'pegasus' | 'tempest', peer: DesiredPeer, known: string[], changing: boolean) =>
      peerKeys(engine, peer, { before: changing ? keysBefore : null, known: new Set(known) })
    assert.deepEqual(told('pegasus', target, [], false), { public_key: pegasusKey })
    assert.deepEqual(told('tempest', target, [], true), { public_key: tempestKey, use_key_before: true })
    assert.deepEqual(told('tempest', target, [id], true), { public_key: tempestKey })
    const changing = { ...target, keysBefore }
    assert.deepEqual(told('pegasus', changing, [], false), { public_key: pegasusKey, public_key_before: 'p-before' })
    assert.deepEqual(told('tempest', changing, [id], true), { public_key: tempestKey, public_key_before: 't-before' })
  })

  it('lets no id become part of the ruleset that is not a plain word, and lets the other services work', () => {
    const bad = 'X; } table inet evil {'
    const good = serviceId(1)
    const services = [bad, good].map((id) => outbound(id, target, [route(1, id, { destCidr: '10.2.0.0/24' })]))
    const state = desired({
      peers: [target],
      outbound: services,
      inbound: [inbound(`${bad}2`, target, [route(2, bad, {})])]
    })
    const planned = plan(state)
    assert.deepEqual(
      [...planned.failures].map(([id, { reason }]) => [id, reason]),
      [
        [bad, 'InvalidId'],
        [`${bad}2`, 'InvalidId']
      ]
    )
    const steering = planSteering(state, { plan: planned, failedDevices: new Set(), facts, marks })
    const text = tableText(rulesetObjects(steering.steering(new Map(), GENERAL_LISTENER)))
    assert.ok(text.includes(`service_${good}`) && !text.includes('evil'))
    const forced = planSteering(state, {
      plan: { ...planned, failures: new Map() },
      failedDevices: new Set(),
      facts,
      marks
    })
    assert.throws(() => tableText(rulesetObjects(forced.steering(new Map(), GENERAL_LISTENER))), TypeError)
  })

  it('takes and refuses what is meant for a peer that is not known, rather than let a broader route have it', () => {
    const [gone, broad] = [serviceId(1), serviceId(2)]
    const revoked = peer(3)
    const state = desired({
      peers: [target],
      outbound: [
        outbound(gone, revoked, [route(1, gone, { destCidr: '10.2.3.0/24' })]),
        outbound(broad, target, [route(2, broad, { destCidr: '10.2.0.0/16' })])
      ]
    })
    const planned = plan(state)
    assert.equal(planned.failures.get(gone)?.reason, 'PeerNotKnown')
    const { table, steering } = planSteering(state, { plan: planned, failedDevices: new Set(), facts, marks })
    const at = (dest: string) => {
      const packet = parsePacket({ interface: 'lan', source: '10.1.0.7', dest })
      return packet == null ? null : table.match(packet)
    }
    assert.equal(at('10.2.3.9')?.serviceId, gone)
    assert.equal(at('10.2.4.9')?.serviceId, broad)
    const chains = tableText(rulesetObjects(steering(new Map(), GENERAL_LISTENER))).split('chain ')
    const lastOf = (id: string) =>
      chains
        .find((text) => text.startsWith(`service_${id} `))
        ?.trim()
        .split('\n')
        .at(-2)
    assert.equal(lastOf(gone)?.trim(), 'drop')
    assert.match(lastOf(broad) ?? '', /goto send_1/)

    // Two bits leave room for one tunnel.
    const crowded = planDevices(
      { ...state, peers: [target, revoked] },
      { known: new Map([[target.id, 1]]), facts, marks: createMarks({ mask: 0xc000_0000 }), parent: null }
    )
    assert.deepEqual(
      [...crowded.failures].map(([id, { reason }]) => [id, reason]),
      [[gone, 'TunnelLimitReached']]
    )
    assert.deepEqual([...crowded.blocked], [gone])
  })

  it('knows a change that only takes away', () => {
    const id = serviceId(1)
    const [one, two] = [route(1, id, { destCidr: '10.2.0.0/24' }), route(2, id, { destCidr: '10.3.0.0/24' })]
    // Whatever changes, the digest of the wish is another one.
    const steered = (spec: string, ...routes: SteeringRoute[]): DesiredState =>
      desired({ peers: [target], outbound: [outbound(id, target, routes, { spec })] })
    const more = steered('a', one, two)
    assert.ok(onlyTakesAway(more, steered('b', one)))
    assert.ok(onlyTakesAway(more, desired({ peers: [target] })))
    assert.ok(onlyTakesAway(more, more))
    assert.ok(!onlyTakesAway(steered('b', one), more))
    assert.ok(!onlyTakesAway(more, steered('b', { ...one, destCidr: '10.4.0.0/24' })))
    assert.ok(!onlyTakesAway(more, { ...more, peers: [{ ...target, dataAddresses: ['192.0.2.1:7947'] }] }))
    assert.ok(!onlyTakesAway(null, steered('b', one)), 'of what nobody knows nothing can be said')
    const inside = (...routes: SteeringRoute[]): DesiredState =>
      desired({ peers: [target], inbound: [inbound(id, target, routes)] })
    assert.ok(onlyTakesAway(inside(one, two), inside(two)))
    assert.ok(!onlyTakesAway(inside(two), inside(one, two)))
  })

  it('warns of routes inside attached networks and of hosts that do not forward', () => {
    const id = serviceId(1)
    const both = { ipv4: new Set(['lan', 'wan']), ipv6: true }
    const inside = outbound(id, target, [
      route(1, id, { destCidr: '10.1.0.128/25' }),
      route(2, id, { destCidr: '10.0.0.0/8' })
    ])
    assert.deepEqual(
      outboundWarnings(inside, facts, both).map(({ reason }) => reason),
      ['RouteOverlapsAttachedNetwork']
    )
    const from = outbound(id, target, [route(1, id, { sourceCidr: '10.1.0.0/24', destCidr: '10.2.0.0/24' })])
    assert.deepEqual(outboundWarnings(from, facts, { ipv4: new Set(['lan']), ipv6: false }), [])
    assert.match(
      outboundWarnings(from, facts, { ipv4: new Set(['wan']), ipv6: null })[0]?.message ?? '',
      /net\.ipv4\.conf\.lan\.forwarding=1/
    )
    const back = inbound(id, target, [
      route(1, id, { destCidr: '10.6.3.0/24' }),
      route(2, id, { destCidr: 'fd01::/64' })
    ])
    assert.deepEqual(inboundWarnings(back, facts, both), [])
    const [warning] = inboundWarnings(back, facts, { ipv4: new Set(['lan']), ipv6: false })
    assert.match(warning?.message ?? '', /net\.ipv4\.conf\.wan\.forwarding=1 and net\.ipv6\.conf\.all\.forwarding=1/)
  })
})
