import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { describe, it } from 'mocha'
import type { SteeringRoute } from '../../src/dataplane/desired.ts'
import { whyNeverTaken, type HostNetworks } from '../../src/dataplane/never-taken.ts'
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../src/dataplane/prefix.ts'
import type { Packet } from '../../src/dataplane/route.ts'
import { compile, parsePacket, type RoutedService } from '../../src/dataplane/route-table.ts'
import * as arbitrary from './support/arbitraries.ts'
import { route } from './support/states.ts'

const noHost: HostNetworks = { own: [], attached: [] }
const prefix = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text)
const address = (text: string): Address => parseAddress(text) ?? assert.fail(text)
const packet = (source: string, dest: string, on: string | null = null): Packet =>
  parsePacket({ interface: on, source, dest }) ?? assert.fail(`${source} ${dest}`)

let ids = 0
const table = (routes: Partial<SteeringRoute>[], host = noHost) =>
  compile(
    routes.map((fields) => ({ id: `S${++ids}`, device: null, routes: [route(++ids, 'S', fields)] })),
    host
  )
const winner = (routes: Partial<SteeringRoute>[], at: Packet, host = noHost): string | null =>
  table(routes, host).match(at)?.id ?? null

describe('route table', () => {
  it('asks routes in the order of the contract', () => {
    const at = packet('10.1.0.2', '10.2.0.2')
    const both = { id: 'both', sourceCidr: '10.0.0.0/8', destCidr: '10.0.0.0/8' }
    const source = { id: 'source', sourceCidr: '10.1.0.2/32' }
    const dest = { id: 'dest', destCidr: '10.2.0.2/32' }
    assert.equal(winner([dest, source, both], at), 'both')
    assert.equal(winner([dest, source], at), 'source')
    assert.equal(winner([dest], at), 'dest')
    assert.equal(
      winner(
        [
          { ...both, id: 'longer', sourceCidr: '10.1.0.0/16' },
          { ...both, destCidr: '10.2.0.0/16' }
        ],
        at
      ),
      'longer'
    )
    assert.equal(winner([both, { ...both, id: 'longer', destCidr: '10.2.0.0/16' }], at), 'longer')
    assert.equal(winner([both, { ...both, id: 'urgent', priority: 101 }], at), 'urgent')
    assert.equal(
      winner(
        [
          { ...both, id: 'b' },
          { ...both, id: 'a' }
        ],
        at
      ),
      'a'
    )
  })

  it('asks a device of its own first, for packets that enter there', () => {
    const services: RoutedService[] = [
      {
        id: 'general',
        device: null,
        routes: [route(1, 'general', { destCidr: '10.2.0.2/32', sourceCidr: '10.1.0.2/32' })]
      },
      { id: 'device', device: 'dev0', routes: [route(2, 'device', {})] }
    ]
    const routes = compile(services, noHost)
    assert.equal(routes.match(packet('10.1.0.2', '10.2.0.2', 'dev0'))?.serviceId, 'device')
    assert.equal(routes.match(packet('fd01::2', 'fd02::2', 'dev0'))?.serviceId, 'device')
    assert.equal(routes.match(packet('10.1.0.2', '10.2.0.2', 'eth0'))?.serviceId, 'general')
    assert.equal(routes.match(packet('10.1.0.3', '10.2.0.2', 'eth0')), null)
  })

  it('leaves attached networks alone unless a route is as narrow as they are', () => {
    const host = { own: [address('10.1.0.1')], attached: [prefix('10.1.0.0/24')] }
    const inside = packet('10.3.0.2', '10.1.0.9')
    assert.equal(winner([{ id: 'all', destCidr: '0.0.0.0/0' }], inside, host), null)
    assert.equal(winner([{ id: 'all', destCidr: '0.0.0.0/0' }], packet('10.3.0.2', '10.2.0.9'), host), 'all')
    assert.equal(winner([{ id: 'source', sourceCidr: '10.3.0.0/24' }], inside, host), null)
    assert.equal(winner([{ id: 'equal', destCidr: '10.1.0.0/24' }], inside, host), 'equal')
    assert.equal(
      winner(
        [
          { id: 'narrower', destCidr: '10.1.0.8/29' },
          { id: 'wide', destCidr: '10.0.0.0/8' }
        ],
        inside,
        host
      ),
      'narrower'
    )
    assert.equal(winner([{ id: 'own', destCidr: '10.1.0.1/32' }], packet('10.3.0.2', '10.1.0.1'), host), null)
    assert.equal(
      table([{ id: 'all', destCidr: '0.0.0.0/0' }], host).explain(inside).reason,
      'the destination lies in the directly attached network 10.1.0.0/24, which a destination as broad as 0.0.0.0/0 does not take'
    )
  })

  it('never takes what belongs to a link or to this host', () => {
    const all = [
      { id: 'v4', destCidr: '0.0.0.0/0' },
      { id: 'v6', destCidr: '::/0' }
    ]
    const host = { own: [address('10.1.0.1')], attached: [prefix('10.1.0.0/24'), prefix('fd01::/64')] }
    for (const dest of [
      '127.0.0.1',
      '224.0.0.5',
      '255.255.255.255',
      '169.254.1.1',
      '10.1.0.255',
      '10.1.0.1',
      '0.0.0.0'
    ]) {
      assert.equal(winner(all, packet('10.3.0.2', dest), host), null, dest)
    }
    for (const dest of ['::1', 'ff02::1', 'fe80::1', 'fd01::', '::'])
      assert.equal(winner(all, packet('fd03::2', dest), host), null, dest)
  })

  it('agrees with a linear oracle, IPv4 and IPv6', () => {
    const devices = ['dev0', 'dev1']
    const cases = fc.tuple(
      arbitrary.services(devices),
      arbitrary.host,
      fc.array(arbitrary.packet([null, 'eth0', ...devices]), { minLength: 8, maxLength: 8 })
    )
    let matched = 0
    fc.assert(
      fc.property(cases, ([services, host, packets]) => {
        const compiled = compile(services, host)
        for (const at of packets) {
          const expected = oracle(services, host, at)[0]?.route
          const got = compiled.match(at)
          assert.equal(got?.id ?? null, expected?.id ?? null)
          if (got != null) matched++
          const { winner: explained, candidates } = compiled.explain(at)
          assert.equal(explained, got)
          assert.deepEqual(
            candidates.filter(({ won }) => won).map(({ routeId }) => routeId),
            got == null ? [] : [got.id]
          )
          for (const { reason } of candidates) assert.notEqual(reason, '')
          const [first, ...rest] = oracle(services, host, at)
          for (const { routeId, rule } of candidates) {
            const behind = rest.find(({ route }) => route.id === routeId)
            if (behind != null && first != null) assert.equal(rule, ruleOf(first, behind), routeId)
            else if (routeId !== got?.id) assert.match(rule, /^(no_match|never_taken)$/)
          }
          // What puts the winner ahead is what puts it ahead of the next one.
          if (first != null) assert.equal(candidates[0]?.rule, rest[0] == null ? 'only_match' : ruleOf(first, rest[0]))
        }
      }),
      { numRuns: 400 }
    )
    assert.ok(matched > 400, `only ${matched} packets matched anything`)
  }).timeout(20_000)

  it('gives Pegasus an ordered list of which the first match is the winner', () => {
    fc.assert(
      fc.property(arbitrary.services([]), arbitrary.packet([null]), (services, at) => {
        const compiled = compile(services, noHost)
        const first = compiled
          .ranked(null)
          .find(({ source, dest }) => covers(source, at.source) && covers(dest, at.dest))
        assert.equal(first?.id, compiled.match(at)?.id)
      })
    )
  })

  it('says of each candidate by which point of the order it won or lost', () => {
    const at = packet('10.1.0.2', '10.2.0.2', 'dev0')
    const both = { sourceCidr: '10.0.0.0/8', destCidr: '10.0.0.0/8' }
    const cases: Array<[rule: string, loser: Partial<SteeringRoute>, winner: Partial<SteeringRoute>, why: RegExp]> = [
      [
        'source_and_destination',
        { sourceCidr: '10.1.0.2/32' },
        both,
        /that one has source and destination, this one source only/
      ],
      [
        'source_only',
        { destCidr: '10.2.0.2/32' },
        { sourceCidr: '10.0.0.0/8' },
        /that one has source only, this one destination only/
      ],
      [
        'longer_source_prefix',
        both,
        { ...both, sourceCidr: '10.1.0.0/16' },
        /its source prefix is longer, \/16 to \/8/
      ],
      [
        'longer_destination_prefix',
        both,
        { ...both, destCidr: '10.2.0.0/16' },
        /its destination prefix is longer, \/16 to \/8/
      ],
      ['higher_priority', { ...both, priority: 50 }, both, /its priority is 100, this one's 50/],
      ['smaller_route_id', { ...both, id: 'b' }, { ...both, id: 'a' }, /all else is equal and its id is smaller/],
      ['no_match', { destCidr: '10.3.0.0/16' }, both, /the destination is not in 10\.3\.0\.0\/16/]
    ]
    for (const [rule, loser, winner, why] of cases) {
      const [first, second] = table([loser, winner]).explain(at).candidates
      assert.deepEqual([first?.won, second?.won, second?.rule], [true, false, rule])
      assert.match(second?.reason ?? '', why)
      assert.equal(first?.rule, rule === 'no_match' ? 'only_match' : rule)
    }
    const own = compile(
      [
        { id: 'S1', device: 'dev0', routes: [route(1, 'S1', {})] },
        { id: 'S2', device: null, routes: [route(2, 'S2', both)] },
        { id: 'S3', device: 'dev1', routes: [route(3, 'S3', {})] }
      ],
      noHost
    )
    const { reason, candidates } = own.explain(at)
    assert.equal(reason, 'matches what enters by dev0, everything')
    assert.deepEqual(
      candidates.map(({ serviceId, rule }) => [serviceId, rule]),
      [
        ['S1', 'interface'],
        ['S3', 'no_match'],
        ['S2', 'interface']
      ]
    )
    assert.match(candidates[0]?.reason ?? '', /; ahead of route .*: this one belongs to the interface/)
    assert.deepEqual(
      own.explain(packet('10.1.0.2', '127.0.0.1')).candidates.map(({ rule }) => rule),
      ['never_taken', 'never_taken', 'never_taken']
    )
  })

  it('finds among 10,000 routes without looking at each', () => {
    const routes = Array.from({ length: 10_000 }, (_, i) => route(i, 'S', { destCidr: `10.${i >> 8}.${i & 255}.0/24` }))
    const compiled = compile([{ id: 'S', device: null, routes }], noHost)
    assert.equal(compiled.spaces(null, 4).length, 1)
    assert.equal(compiled.match(packet('10.200.0.1', '10.39.15.7'))?.id, routes[9_999]?.id)
  })
})

const covers = (prefix: Prefix | null, at: Address): boolean => prefix == null || inNetwork(prefix, at)
const inNetwork = (network: Prefix, at: Address): boolean => {
  const width = BigInt(arbitrary.bits(at.family) - network.length)
  return network.family === at.family && network.value >> width === at.value >> width
}

/** The contract read aloud: every route is asked, the best one that matches wins. */
interface Ranked {
  rank: (number | string)[]
  route: SteeringRoute
}

/** Everything that matches, best first. */
function oracle(services: readonly RoutedService[], host: HostNetworks, at: Packet): Ranked[] {
  if (whyNeverTaken(host, at.source, at.dest) != null) return []
  const found: Ranked[] = []
  for (const { device, routes } of services) {
    for (const candidate of routes) {
      const source = candidate.sourceCidr == null ? null : parsePrefix(candidate.sourceCidr)
      const dest = candidate.destCidr == null ? null : parsePrefix(candidate.destCidr)
      if (source == null && dest == null && device == null) continue
      if (device != null && device !== at.interface) continue
      if (!covers(source, at.source) || !covers(dest, at.dest)) continue
      if (host.attached.some((net) => inNetwork(net, at.dest) && net.length > (dest?.length ?? 0))) continue
      const kind = source != null && dest != null ? 0 : source != null ? 1 : dest != null ? 2 : 3
      const rank = [
        device == null ? 1 : 0,
        kind,
        -(source?.length ?? -1),
        -(dest?.length ?? -1),
        -candidate.priority,
        candidate.id
      ]
      found.push({ rank, route: candidate })
    }
  }
  return found.sort((a, b) => (before(a.rank, b.rank) ? -1 : 1))
}

/** The first part of the rank in which two differ, by its name. */
function ruleOf(winner: Ranked, loser: Ranked): string {
  const kinds = ['source_and_destination', 'source_only', 'destination_only']
  const names = [
    'interface',
    kinds[Number(winner.rank[1])],
    'longer_source_prefix',
    'longer_destination_prefix',
    'higher_priority',
    'smaller_route_id'
  ]
  return names[winner.rank.findIndex((part, at) => part !== loser.rank[at])] ?? ''
}

function before(a: (number | string)[], b: (number | string)[]): boolean {
  const i = a.findIndex((part, at) => part !== b[at])
  return i >= 0 && (a[i] ?? 0) < (b[i] ?? 0)
}
