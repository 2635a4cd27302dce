import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import {
  addressToBigInt,
  bigIntToAddress,
  contains,
  formatAddress,
  formatCidr,
  networkOf,
  parseAddress,
  parseCidr,
  parseInterfaceCidr
} from '../../src/crdt/cidr.ts'
import type { PeerRecord, RouteInput, ServiceInput, ServicePatch } from '../../src/crdt/schema.ts'
import { checkPeer, newRoute, newService, patchRoute, patchService } from '../../src/crdt/validate.ts'
import { ArcticError } from '../../src/errors.ts'
import { peerRecord, signer } from './support.ts'

const ID = '01J00000000000000000000000'
const NOW = '2026-01-01T00:00:00.000Z'
const [a, b] = [signer(1).peerId, signer(2).peerId]

/** The code and message of what is thrown. */
function failure(fn: () => unknown): string {
  try {
    fn()
  } catch (error) {
    assert.ok(error instanceof ArcticError, String(error))
    return `${error.code}: ${error.message}`
  }
  return 'nothing is wrong'
}

describe('crdt/cidr', function () {
  this.timeout(60_000)

  const refused: Array<[value: string, expected: RegExp]> = [
    ['10.2.0.5/24', /^invalid_cidr: dest_cidr "10.2.0.5\/24" has bits set .*did you mean 10\.2\.0\.0\/24\?$/],
    ['fd00::1/64', /has bits set .*did you mean fd00::\/64\?$/],
    ['10.2.0.0', /has no prefix; did you mean 10\.2\.0\.0\/16\?$/],
    ['10.2.0.7', /has no prefix; did you mean 10\.2\.0\.7\/32\?$/],
    ['fd00::7', /has no prefix; did you mean fd00::7\/128\?$/],
    ['fd00::', /has no prefix; did you mean fd00::\/16\?$/],
    ['0.0.0.0', /did you mean 0\.0\.0\.0\/0\?$/],
    ['10.2.0.0/33', /longer than the 32 bits of an IPv4 address/],
    ['fd00::/129', /longer than the 128 bits of an IPv6 address/],
    ['10.2.0.0/', /prefix that is not a number/],
    ['10.2.0.0/024', /prefix that is not a number/],
    ['10.2.0.0/-1', /prefix that is not a number/],
    ['10.2.0.0/24/8', /prefix that is not a number/],
    ['10.2.0/24', /is not an address and a prefix; write it as ADDRESS\/PREFIX/],
    ['010.2.0.0/24', /is not an address/],
    ['fe80::1%eth0/64', /is not an address/],
    ['everything', /is not an address/],
    ['', /is not an address/]
  ]
  for (const [value, expected] of refused) {
    it(`says what is wrong with "${value}"`, () =>
      assert.match(
        failure(() => parseCidr('dest_cidr', value)),
        expected
      ))
  }

  it('writes each address in one form and reads it back', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 })
    )
    fc.assert(
      fc.property(bytes, fc.nat(128), (address, anyPrefix) => {
        const family = address.length === 4 ? 4 : 6
        assert.deepEqual(parseAddress(formatAddress(address)), address)
        assert.deepEqual(bigIntToAddress(addressToBigInt(address), family), address)
        const prefix = Math.min(anyPrefix, address.length * 8)
        const cidr = { family, bytes: address, prefix } as const
        assert.deepEqual(parseInterfaceCidr('x', formatCidr(cidr)), cidr)
        const network = networkOf(cidr)
        assert.deepEqual(parseCidr('x', formatCidr(network)), network)
        assert.ok(contains(network, address))
        const shift = BigInt(address.length * 8 - prefix)
        assert.equal(addressToBigInt(network.bytes), (addressToBigInt(address) >> shift) << shift)
        if (prefix > 0) {
          const other = bigIntToAddress(addressToBigInt(address) ^ (1n << shift), family)
          assert.equal(contains(network, other), false)
        }
      })
    )
  })

  it('throws nothing but InvalidCidrError, and takes only what it would write after canonical form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f.:/]{0,24}$/)), (text) => {
        if (failure(() => parseCidr('x', text)) !== 'nothing is wrong') return
        const canonical = formatCidr(parseCidr('x', text))
        assert.equal(formatCidr(parseCidr('x', canonical)), canonical)
      }),
      { numRuns: 2000 }
    )
  })
})

describe('crdt/validate', function () {
  this.timeout(60_000)

  const service = (more: object = {}): ServiceInput => ({ source_peer_id: a, target_peer_id: b, ...more })
  const refusedServices: Array<[what: string, input: object, expected: RegExp]> = [
    ['the same peer twice', { target_peer_id: a }, /^invalid_request: source and target are the same peer/],
    ['no peer id', { target_peer_id: 'edge-b' }, /^invalid_request: target_peer_id must be a peer id/],
    ['an unknown field', { colour: 'red' }, /^invalid_request: a service has no field "colour"/],
    ['a transport', { transport_type: 'udp' }, /transport_type must be "tcp" or "kcp"/],
    ['a negative limit', { bandwidth_limit_mbps: -1 }, /bandwidth_limit_mbps must be a number from 0/],
    ['an infinite limit', { bandwidth_limit_mbps: Infinity }, /bandwidth_limit_mbps/],
    ['a text for a limit', { bandwidth_limit_mbps: '5' }, /bandwidth_limit_mbps/],
    ['an empty name', { name: '' }, /must have 1 to 63 characters/],
    ['a long name', { name: 'x'.repeat(64) }, /must have 1 to 63 characters/],
    ['a control character', { name: 'a\u0007b' }, /must be printable/],
    ['a right-to-left override', { name: 'a\u202Eb' }, /must be printable/],
    ['a space at the end', { name: 'a ' }, /neither begin nor end with a space/],
    ['transparent without interface', { fully_transparent: true }, /^transparent_requires_interface: /],
    [
      'transparent over kcp',
      { fully_transparent: true, requires_interface: true, transport_type: 'kcp' },
      /^transparent_tcp_only: /
    ],
    ['an address without interface', { desired_ipv4_cidr: '10.1.0.9/24' }, /set requires_interface too/],
    [
      'IPv4 in an IPv6 field',
      { requires_interface: true, desired_ipv6_cidr: '10.1.0.9/24' },
      /^invalid_cidr: .*is an IPv4 address in an IPv6 field/
    ],
    ['a word for a flag', { requires_interface: 'yes' }, /requires_interface must be true or false/]
  ]
  for (const [what, input, expected] of refusedServices) {
    it(`refuses a service with ${what}`, () => {
      assert.match(
        failure(() => newService(service(input), ID, NOW)),
        expected
      )
    })
  }

  it('gives a service its defaults, and a host address on its interface', () => {
    const made = newService(service(), ID, NOW)
    assert.deepEqual(made, {
      id: ID,
      name: 'service-00000000',
      source_peer_id: a,
      target_peer_id: b,
      transport_type: 'tcp',
      requires_interface: false,
      desired_ipv4_cidr: null,
      desired_ipv6_cidr: null,
      bandwidth_limit_mbps: 0,
      fully_transparent: false,
      created_at: NOW,
      updated_at: NOW
    })
    const own = { requires_interface: true, desired_ipv4_cidr: '10.1.0.9/24', desired_ipv6_cidr: 'FD00:0::9/64' }
    assert.equal(newService(service(own), ID, NOW).desired_ipv6_cidr, 'fd00::9/64')
  })

  it('changes what it is given and nothing else; peers cannot be changed', () => {
    const made = newService(service({ name: 'one' }), ID, NOW)
    const patch: ServicePatch = { bandwidth_limit_mbps: 2.5 }
    assert.deepEqual(patchService(made, patch), { ...made, bandwidth_limit_mbps: 2.5 })
    const peers = { target_peer_id: signer(3).peerId } as ServicePatch
    assert.match(
      failure(() => patchService(made, peers)),
      /target_peer_id of a service cannot be changed/
    )
    assert.match(
      failure(() => patchService(made, { id: 'x' } as ServicePatch)),
      /has no field "id"/
    )
  })

  const plain = newService(service(), ID, NOW)
  const withInterface = newService(service({ requires_interface: true }), ID, NOW)
  const refusedRoutes: Array<[what: string, input: object, expected: RegExp]> = [
    ['no CIDR', {}, /^invalid_request: a route needs source_cidr, dest_cidr or both/],
    [
      'both families',
      { source_cidr: '10.0.0.0/8', dest_cidr: 'fd00::/8' },
      /^invalid_cidr: .*is IPv6 while source_cidr is IPv4/
    ],
    ['host bits', { dest_cidr: '10.0.0.1/8' }, /did you mean 10\.0\.0\.0\/8/],
    [
      'an IPv4 range in the clothes of IPv6, which would match no packet',
      { dest_cidr: '::ffff:10.2.0.0/112' },
      /^invalid_cidr: dest_cidr "::ffff:10\.2\.0\.0\/112" is an IPv4 range written as IPv6, .*did you mean 10\.2\.0\.0\/16\?$/
    ],
    ['half a priority', { dest_cidr: '10.0.0.0/8', priority: 1.5 }, /priority must be a whole number from 0 to 65535/],
    ['too high a priority', { dest_cidr: '10.0.0.0/8', priority: 65_536 }, /priority/],
    ['a negative priority', { dest_cidr: '10.0.0.0/8', priority: -1 }, /priority/],
    ['a number for a CIDR', { dest_cidr: 10 }, /dest_cidr must be a text or null/],
    ['an unknown field', { dest_cidr: '10.0.0.0/8', metric: 1 }, /a route has no field "metric"/]
  ]
  for (const [what, input, expected] of refusedRoutes) {
    it(`refuses a route with ${what}`, () => {
      assert.match(
        failure(() => newRoute(input as RouteInput, ID, plain)),
        expected
      )
    })
  }

  it('gives a route its default priority, canonical text, and no CIDR where the interface is enough', () => {
    const made = newRoute({ dest_cidr: 'FD00:0:0::/48' }, ID, plain)
    assert.deepEqual(made, { id: ID, service_id: ID, source_cidr: null, dest_cidr: 'fd00::/48', priority: 100 })
    assert.equal(newRoute({}, ID, withInterface).dest_cidr, null)
    assert.match(
      failure(() => patchRoute(made, { dest_cidr: null }, plain)),
      /a route needs/
    )
    assert.equal(patchRoute(made, { priority: 0 }, plain).priority, 0)
  })

  const good = peerRecord(a, 'edge-a')
  const refusedPeers: Array<[what: string, more: Partial<Record<keyof PeerRecord, unknown>>, expected: RegExp]> = [
    ['a name like an id', { name: a.slice(0, 20) }, /must not look like a peer id/],
    ['a host name for a data address', { data_addresses: ['edge:7947'] }, /no such address/],
    ['a data address without port', { data_addresses: ['10.0.0.1'] }, /no such address/],
    ['a data address with a rule in it', { data_addresses: ['10.0.0.1:1; flush'] }, /no such address/],
    ['a port too high', { data_addresses: ['10.0.0.1:70000'] }, /no such address/],
    ['too many addresses', { mesh_addresses: Array.from({ length: 17 }, () => '/ip4/1.2.3.4/tcp/1') }, /at most 16/],
    ['a mesh address with a space', { mesh_addresses: ['/ip4/1.2.3.4 /tcp/1'] }, /no such address/],
    ['a short key', { pegasus_key: 'AAAA' }, /pegasus_key must be 32 bytes in base64/],
    ['no version', { version: '' }, /version must be a short word/]
  ]
  for (const [what, more, expected] of refusedPeers) {
    it(`refuses a peer record with ${what}`, () => {
      assert.match(
        failure(() => checkPeer({ ...good, ...more } as PeerRecord)),
        expected
      )
    })
  }

  it('takes a good peer record as it is', () => assert.deepEqual(checkPeer(good), good))
})
