import {
  BITS,
  contains,
  formatPrefix,
  lastAddress,
  parseEndpoint,
  parsePrefix,
  type Address,
  type Prefix
} from './prefix.ts'
import { endpointTextsMax } from './limits.ts'

/** What of this host matters for steering; read by `interfaces.ts`, plain data for tests. */
export interface HostNetworks {
  /** The host's own addresses. */
  own: Address[]
  /** Networks that are directly attached to an interface of the host. */
  attached: Prefix[]
}

const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => parsePrefix(text)).filter((p) => p != null)

/** Destinations that no route can take, in the words of `routes test`. */
const SPECIAL: [name: string, networks: Prefix[]][] = [
  ['loopback', prefixes('127.0.0.0/8', '::1/128')],
  ['link-local', prefixes('169.254.0.0/16', 'fe80::/10')],
  ['multicast', prefixes('224.0.0.0/4', 'ff00::/8')],
  ['broadcast', prefixes('255.255.255.255/32')],
  ['unspecified', prefixes('0.0.0.0/8', '::/128')]
]

/** The same as networks: for destinations, and for the sources that can only be on the same link. */
export const SPECIAL_DESTINATIONS: readonly Prefix[] = SPECIAL.flatMap(([, networks]) => networks)
export const SPECIAL_SOURCES: readonly Prefix[] = SPECIAL.filter(
  ([name]) => name !== 'multicast' && name !== 'broadcast'
).flatMap(([, networks]) => networks)

/** Why no route can take a packet from `source` to `dest`, or null when routes may be asked. */
export function whyNeverTaken(host: HostNetworks, source: Address, dest: Address): string | null {
  const special = SPECIAL.find(([, networks]) => networks.some((network) => contains(network, dest)))
  if (special != null) return `the destination is ${special[0]}, which is never taken`
  if (host.own.some((own) => own.family === dest.family && own.value === dest.value)) {
    return 'the destination is an address of this host, which is never taken'
  }
  const edge = host.attached.find((network) => isEdge(network, dest))
  if (edge != null)
    return `the destination is the broadcast or anycast address of ${formatPrefix(edge)}, which is never taken`
  const from = SPECIAL_SOURCES.find((network) => contains(network, source))
  return from == null ? null : `the source is in ${formatPrefix(from)}, which never leaves its link`
}

/** IPv4 broadcast addresses, and the subnet-router anycast address of IPv6 (RFC 4291, 2.6.1): both are this host. */
function isEdge(network: Prefix, dest: Address): boolean {
  if (network.family !== dest.family || network.length > BITS[network.family] - 2) return false
  return network.family === 4 ? lastAddress(network).value === dest.value : network.value === dest.value
}

/** Longest attached network that holds `dest`, or null. */
export function attachedNetworkOf(attached: readonly Prefix[], dest: Address): Prefix | null {
  let best: Prefix | null = null
  for (const network of attached) {
    if (contains(network, dest) && (best == null || network.length > best.length)) best = network
  }
  return best
}

/** One address, port and protocol of a member's mesh or data plane. */
export interface MemberEndpoint {
  address: Address
  port: number
  protocol: 'tcp' | 'udp'
}

/**
 * `HOST:PORT` texts to what may arrive there: TCP (mesh, Pegasus) and UDP (Tempest) on the port itself, and UDP on the
 * next one (Pegasus over KCP). Texts that hold no literal address are left out: there is nothing to compare them with.
 */
export function memberEndpoints(texts: readonly string[]): MemberEndpoint[] {
  const found = new Map<string, MemberEndpoint>()
  for (const text of texts) for (const [key, end] of endsAt(text)) found.set(key, end)
  return [...found.values()]
}

/** Of every member at every change of any, so what a text means is kept; the oldest leaves. */
const ends = new Map<string, ReadonlyArray<readonly [key: string, end: MemberEndpoint]>>()

function endsAt(text: string): ReadonlyArray<readonly [key: string, end: MemberEndpoint]> {
  const known = ends.get(text)
  if (known != null) return known
  const endpoint = parseEndpoint(text)
  const read = endpoint == null ? [] : endsOf(endpoint)
  if (ends.size >= endpointTextsMax) ends.delete(ends.keys().next().value ?? '')
  ends.set(text, read)
  return read
}

function endsOf({ address, port }: { address: Address; port: number }): Array<readonly [string, MemberEndpoint]> {
  const all: MemberEndpoint[] = [
    { address, port, protocol: 'tcp' },
    { address, port, protocol: 'udp' },
    { address, port: port + 1, protocol: 'udp' }
  ]
  return all
    .filter((end) => end.port <= 65535)
    .map((end) => [`${address.family} ${address.value} ${end.port} ${end.protocol}`, end] as const)
}
