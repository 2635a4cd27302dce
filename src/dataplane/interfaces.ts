import type { IpLink, IpRoute } from './ip.ts'
import type { HostNetworks } from './never-taken.ts'
import { BITS, contains, parseAddress, parsePrefix, prefixOf, samePrefix, type Family, type Prefix } from './prefix.ts'

/** What steering needs to know of the host, read once per apply. */
export interface HostFacts extends HostNetworks {
  links: IpLink[]
  /** Networks of the main table by the interface they leave by, longest first; what decides which interface matters. */
  ways: Way[]
}

export interface Way {
  network: Prefix
  device: string
  /** The network is on that interface itself, not behind a gateway. */
  direct: boolean
}

/** Devices of ours carry this alias: how a killed agent's are known again. */
export const ALIAS_PREFIX = 'arctic '

export const isOurs = (link: IpLink): boolean => link.ifalias?.startsWith(ALIAS_PREFIX) === true

export function hostFacts(
  links: readonly IpLink[],
  routes4: readonly IpRoute[],
  routes6: readonly IpRoute[]
): HostFacts {
  const own = links
    .flatMap(({ addr_info }) =>
      addr_info.map(({ local, dadfailed }) => (dadfailed === true ? null : parseAddress(local)))
    )
    .filter((a) => a != null)
  const ways = [...waysOf(routes4, 4), ...waysOf(routes6, 6)].toSorted((a, b) => b.network.length - a.network.length)
  return { links: [...links], own, attached: attachedNetworks(links, [...routes4, ...routes6]), ways }
}

/** Networks of the interfaces' addresses, and networks that the main table reaches without a gateway. */
function attachedNetworks(links: readonly IpLink[], routes: readonly IpRoute[]): Prefix[] {
  const byAddress = links.flatMap((link) =>
    link.flags.includes('LOOPBACK') || !link.flags.includes('UP')
      ? []
      : link.addr_info.map(({ local, address, prefixlen }) => networkOf(address ?? local, prefixlen))
  )
  const byRoute = routes
    .filter(({ type, gateway, via, dst }) => isUnicast(type) && gateway == null && via == null && dst !== 'default')
    .map(({ dst }) => parsePrefix(dst))
  const found: Prefix[] = []
  for (const network of [...byAddress, ...byRoute]) {
    if (network == null || network.length === 0 || isLinkLocal(network)) continue
    if (!found.some((other) => samePrefix(other, network))) found.push(network)
  }
  return found
}

/** The network of an address; null for one that is alone on its link. */
function networkOf(text: string, length: number): Prefix | null {
  const address = parseAddress(text)
  return address == null || length === BITS[address.family] ? null : prefixOf(address, length)
}

const LINK_LOCAL = [parsePrefix('169.254.0.0/16'), parsePrefix('fe80::/10'), parsePrefix('ff00::/8')]
const isLinkLocal = (network: Prefix): boolean => LINK_LOCAL.some((outer) => outer != null && contains(outer, network))
const isUnicast = (type: string | undefined): boolean => type == null || type === '1' || type === 'unicast'

function waysOf(routes: readonly IpRoute[], family: Family): HostFacts['ways'] {
  return routes.flatMap(({ dst, dev, type, gateway, via }) => {
    const network = dst === 'default' ? { family, length: 0, value: 0n } : parsePrefix(dst)
    return network == null || dev == null || !isUnicast(type)
      ? []
      : [{ network, device: dev, direct: gateway == null && via == null }]
  })
}

/** The interface by which the main table reaches a network, or null. */
export const wayTo = (facts: HostFacts, network: Prefix): string | null =>
  facts.ways.find((way) => contains(way.network, network))?.device ?? null

/** The interface of the default route, IPv4 first: the parent of MACVLAN devices unless told otherwise. */
export const defaultDevice = (facts: HostFacts): string | null =>
  ([4, 6] as const)
    .map((family) => facts.ways.find(({ network }) => network.family === family && network.length === 0)?.device)
    .find((device) => device != null) ?? null

/** Whether a change of the host's addresses matters to the ruleset. */
export const sameNetworks = (a: HostNetworks, b: HostNetworks): boolean => fingerprint(a) === fingerprint(b)

const fingerprint = ({ own, attached }: HostNetworks): string =>
  [
    ...own.map(({ family, value }) => `${family} ${value}`).toSorted(),
    ...attached.map(({ family, value, length }) => `${family} ${value}/${length}`).toSorted()
  ].join('\n')
