import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { desiredDigest, desiredFor } from '../../../src/actors/reconcile/desired.ts'
import { specIn, specOf } from '../../../src/actors/reconcile/spec.ts'
import type { View } from '../../../src/crdt/view.ts'
import { member, peerId, peerRecord, route, service, viewOf } from '../fakes/records.ts'

const NAMES = ['a', 'b', 'c']
const stays = route(101, 1)

/** Views over three peers, in any order of insertion. */
const views: fc.Arbitrary<View> = fc
  .record({
    services: fc.array(
      fc.record({
        n: fc.integer({ min: 1, max: 20 }),
        ends: fc.shuffledSubarray(NAMES, { minLength: 2, maxLength: 2 })
      }),
      { maxLength: 8 }
    ),
    routes: fc.uniqueArray(fc.integer({ min: 100, max: 160 }), { maxLength: 20 }),
    described: fc.subarray(NAMES)
  })
  .map(({ services, routes, described }) => {
    const unique = [...new Map(services.map((one) => [one.n, one])).values()]
    const records = unique.map(({ n, ends: [from, to] }) => service(n, from!, to!))
    const owned = unique.length === 0 ? [] : routes.map((n) => route(n, unique[n % unique.length]!.n))
    const members = NAMES.map((name) => member(name, described.includes(name) ? peerRecord(name) : null))
    return viewOf(members, records, owned)
  })

/** The same view, with every map filled in the opposite order and every record a new object. */
const reversed = (view: View): View =>
  viewOf(
    [...view.members.values()].reverse().map((one) => structuredClone(one)),
    [...view.services.values()].reverse().map((one) => structuredClone(one)),
    [...view.routes.values()].reverse().map((one) => structuredClone(one))
  )

describe('the desired state', () => {
  it('is a function of the view: same view, same state, whatever the order of its maps', () => {
    fc.assert(
      fc.property(views, fc.constantFrom(...NAMES), (view, name) => {
        const self = peerId(name)
        const desired = desiredFor(self, view)
        assert.deepEqual(desiredFor(self, view), desired)
        assert.deepEqual(desiredFor(self, reversed(view)), desired)
        assert.equal(desiredDigest(desiredFor(self, reversed(view))), desiredDigest(desired))
      })
    )
  })

  it('gives both endpoints of a service the same spec, and nobody else the service', () => {
    fc.assert(
      fc.property(views, (view) => {
        const states = new Map(NAMES.map((name) => [peerId(name), desiredFor(peerId(name), view)]))
        for (const one of view.services.values()) {
          for (const [peer, { outbound, inbound }] of states) {
            const out = outbound.find(({ id }) => id === one.id)
            const within = inbound.find(({ id }) => id === one.id)
            assert.equal(out?.spec, peer === one.source_peer_id ? specIn(view, one) : undefined)
            assert.equal(within?.spec, peer === one.target_peer_id ? specIn(view, one) : undefined)
          }
        }
      })
    )
  })

  it('keeps a service whose target is not described, so that its packets do not leave in the clear', () => {
    const view = viewOf([member('a'), member('b', null)], [service(1, 'a', 'b')], [route(101, 1)])
    const desired = desiredFor(peerId('a'), view)
    assert.equal(desired.outbound.length, 1)
    assert.deepEqual(desired.peers, [])
  })

  it('has the same object for a route that stays, although its service gets another one', () => {
    // What is worked out of a route is kept by its object: 200 new ones at each change made the collector stop the agent for 70 ms.
    const [before, after] = [[], [route(102, 1)]].map((more) =>
      desiredFor(peerId('a'), viewOf([member('a'), member('b')], [service(1, 'a', 'b')], [stays, ...more]))
    )
    assert.equal(after?.outbound[0]?.routes.length, 2)
    assert.equal(after.outbound[0].routes[0], before?.outbound[0]?.routes[0])
    const target = desiredFor(peerId('b'), viewOf([member('a'), member('b')], [service(1, 'a', 'b')], [stays]))
    assert.equal(target.inbound[0]?.routes[0], before?.outbound[0]?.routes[0])
  })

  it('names the mesh and data endpoints of every member, and nothing for a peer that is none', () => {
    const names = member(
      'a',
      peerRecord('a', { mesh_addresses: ['/ip4/10.9.0.1/tcp/7946', '/dns4/x.example/tcp/1', '/ip6/fd00::1/tcp/7946'] })
    )
    const view = viewOf([names, member('b')])
    assert.deepEqual(desiredFor(peerId('a'), view).endpoints, [
      '10.9.0.1:7946',
      '10.9.0.97:7947',
      '10.9.0.98:7946',
      '10.9.0.98:7947',
      '[fd00::1]:7946'
    ])
    assert.deepEqual(desiredFor(peerId('z'), view), {
      self: peerId('z'),
      peers: [],
      outbound: [],
      inbound: [],
      endpoints: []
    })
  })
})

describe('a spec', () => {
  const [a, b] = [peerRecord('a'), peerRecord('b')]
  const base = specOf(service(1, 'a', 'b'), [route(101, 1), route(102, 1)], a, b)

  it('is 16 hex digits, whatever the order of the routes', () => {
    assert.match(base, /^[0-9a-f]{16}$/)
    assert.equal(specOf(service(1, 'a', 'b'), [route(102, 1), route(101, 1)], a, b), base)
  })

  it('stays when nothing changes for the packets', () => {
    const renamed = service(1, 'a', 'b', { name: 'other', updated_at: '2027-01-01T00:00:00.000Z' })
    assert.equal(specOf(renamed, [route(101, 1), route(102, 1)], { ...a, name: 'x', version: '9' }, b), base)
  })

  it('changes with everything that an endpoint programs', () => {
    const routes = [route(101, 1), route(102, 1)]
    const changed = [
      specOf(service(1, 'a', 'b', { transport_type: 'kcp' }), routes, a, b),
      specOf(service(1, 'a', 'b', { bandwidth_limit_mbps: 5 }), routes, a, b),
      specOf(service(1, 'a', 'b', { requires_interface: true }), routes, a, b),
      specOf(service(1, 'a', 'b', { desired_ipv4_cidr: '10.0.0.1/24' }), routes, a, b),
      specOf(service(1, 'a', 'b', { desired_ipv6_cidr: 'fd00::1/64' }), routes, a, b),
      specOf(service(1, 'a', 'b', { fully_transparent: true }), routes, a, b),
      specOf(service(1, 'a', 'b'), [route(101, 1)], a, b),
      specOf(service(1, 'a', 'b'), [route(101, 1, { priority: 7 }), route(102, 1)], a, b),
      specOf(service(1, 'a', 'b'), [route(101, 1, { source_cidr: '10.1.0.0/24' }), route(102, 1)], a, b),
      specOf(service(1, 'a', 'b'), routes, { ...a, tempest_key: 'other' }, b),
      specOf(service(1, 'a', 'b'), routes, a, { ...b, data_addresses: ['10.9.9.9:7947'] }),
      specOf(service(1, 'a', 'b'), routes, a, null)
    ]
    assert.equal(new Set([base, ...changed]).size, changed.length + 1)
  })
})
