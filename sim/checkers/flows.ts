import type { RouteRecord } from '../../src/crdt/schema.ts'
import type { View } from '../../src/crdt/view.ts'
import { parsePacket } from '../../src/dataplane/route-table.ts'
import { siteOf, type SimHost } from '../host/host.ts'
import type { SeededRandom } from '../random.ts'
import type { World } from '../world.ts'
import type { Checker } from './checker.ts'

/** Hosts and packets per host that are tried; a sample of all flows, another one with each seed. */
const hostsMax = 24
const packetsPerHost = 48

/**
 * Every flow that should reach its destination does, and no other. What should be is computed here from the contract's
 * words, one rule after the other over a plain list, with nothing of the product's tables; what is, is led through the
 * kernels as they stand, from the source's to the target's.
 */
export const flows: Checker = {
  name: 'flows',
  about: 'every flow goes where the contract says, and no other goes anywhere',
  atRest(world) {
    const random = world.random.fork('flows')
    for (const host of random.sample(world.up(), hostsMax)) {
      const view = host.agent!.replica.view()
      for (const { source, dest } of packets(host, view, world, random)) {
        const wanted = winner(host, view, source, dest)
        const met = lead(world, host, source, dest)
        const target = view.services.get(wanted?.service_id ?? '')?.target_peer_id ?? ''
        const fate = view.members.has(target) ? 'arrives' : 'goes to nobody'
        const should = wanted == null ? 'is not taken' : `${wanted.service_id} by route ${wanted.id} ${fate}`
        if (met !== should)
          world.violate('flows', `${source} to ${dest} at ${host.name}: should be "${should}" and is "${met}"`)
      }
    }
  }
}

/** What becomes of a packet that enters `host`, in words. */
function lead(world: World, host: SimHost, source: string, dest: string): string {
  const packet = parsePacket({ interface: 'eth1', source, dest })
  const steered = packet == null ? null : host.kernel.steer(packet)
  if (packet == null || steered == null) return 'is not taken'
  const { service, route, target } = steered
  const by = `${service} by route ${route}`
  const there = world.hosts.find(({ id }) => id === target)
  const peer = host.kernel.desired.peers.find(({ id }) => id === target)
  if (there == null || peer == null) return `${by} goes to nobody`
  if (!world.wire.connects(host.station, there.station)) return `${by} is cut off`
  for (const engine of ['pegasus', 'tempest'] as const) {
    if (host.kernel.engines[engine].state !== 'ready') return `${by} meets no ${engine} at ${host.name}`
    if (there.kernel.engines[engine].state !== 'ready') return `${by} meets no ${engine} at ${there.name}`
  }
  if (peer.pegasusKey !== there.keys.pegasus || peer.tempestKey !== there.keys.tempest)
    return `${by} is sealed for another key`
  if (!peer.dataAddresses.includes(`${there.station.ip}:7947`)) return `${by} is sent to another address`
  return there.kernel.takes(host.id, service, packet) ? `${by} arrives` : `${by} is refused by ${there.name}`
}

/** The contract, "How a packet is matched", for services without an interface of their own. */
function winner(host: SimHost, view: View, source: string, dest: string): RouteRecord | null {
  const attached = ['198.18.0.0/15', `${network(siteOf(host))}.0/24`]
  const own = [host.station.ip, siteOf(host)]
  const never = ['127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '0.0.0.0/8', '255.255.255.255/32', '198.19.255.255/32']
  if ([...never, `${network(siteOf(host))}.255/32`, ...own.map((ip) => `${ip}/32`)].some((net) => within(dest, net)))
    return null
  const near = Math.max(-1, ...attached.filter((net) => within(dest, net)).map(lengthOf))
  const matching = [...view.routes.values()].filter((route) => {
    if (view.services.get(route.service_id)?.source_peer_id !== host.id) return false
    if (route.source_cidr == null && route.dest_cidr == null) return false
    if (route.source_cidr != null && !within(source, route.source_cidr)) return false
    if (route.dest_cidr != null && !within(dest, route.dest_cidr)) return false
    return near <= (route.dest_cidr == null ? 0 : lengthOf(route.dest_cidr))
  })
  const rank = ({ source_cidr, dest_cidr }: RouteRecord): number =>
    source_cidr == null ? 2 : dest_cidr == null ? 1 : 0
  const length = (cidr: string | null): number => (cidr == null ? -1 : lengthOf(cidr))
  return (
    matching.sort(
      (a, b) =>
        rank(a) - rank(b) ||
        length(b.source_cidr) - length(a.source_cidr) ||
        length(b.dest_cidr) - length(a.dest_cidr) ||
        b.priority - a.priority ||
        (a.id < b.id ? -1 : 1)
    )[0] ?? null
  )
}

/** Addresses in, at the edge of and beside what routes name, and some that no route should touch. */
function packets(
  host: SimHost,
  view: View,
  world: World,
  random: SeededRandom
): Array<{ source: string; dest: string }> {
  const lan = network(siteOf(host))
  const sources = [`${lan}.7`, `${lan}.200`, '192.168.9.9', siteOf(host), '10.0.1.9']
  const places = ['203.0.113.5', '127.0.0.1', '224.0.0.1', '255.255.255.255', `${lan}.255`, `${lan}.9`, host.station.ip]
  for (const other of random.sample(world.hosts, 6)) places.push(`${network(siteOf(other))}.20`, other.station.ip)
  const own = [...view.routes.values()].filter(
    ({ service_id }) => view.services.get(service_id)?.source_peer_id === host.id
  )
  for (const { dest_cidr } of random.sample(own, 16)) {
    if (dest_cidr == null) continue
    const [first, last] = edges(dest_cidr)
    places.push(text(first), text(last), text(first - 1), text(last + 1), text(random.integer(first, last)))
  }
  return Array.from({ length: packetsPerHost }, () => ({ source: random.pick(sources), dest: random.pick(places) }))
}

const network = (ip: string): string => ip.split('.').slice(0, 3).join('.')
const number = (ip: string): number => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
const lengthOf = (cidr: string): number => Number(cidr.split('/')[1])
const text = (value: number): string => {
  const bounded = Math.min(Math.max(value, 0), 2 ** 32 - 1)
  return [24, 16, 8, 0].map((shift) => Math.floor(bounded / 2 ** shift) % 256).join('.')
}

function edges(cidr: string): [first: number, last: number] {
  const size = 2 ** (32 - lengthOf(cidr))
  const first = Math.floor(number(cidr.split('/')[0] ?? '') / size) * size
  return [first, first + size - 1]
}

function within(ip: string, cidr: string): boolean {
  const [first, last] = edges(cidr)
  return number(ip) >= first && number(ip) <= last
}
