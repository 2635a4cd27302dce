import { MappedList } from './mapped-list.ts'
import { once } from '../once.ts'
import { BITS, contains, formatAddress, formatPrefix, mask, type Family, type Prefix } from './prefix.ts'
import type { Route } from './route.ts'
import type { RouteTable, Space } from './route-table.ts'
import { chain, map, type NftObject } from './ruleset-objects.ts'

/**
 * A route table as nft chains: for each pair of prefix lengths one rule that masks the addresses and asks one hash map.
 * 10,000 routes are 10,000 map elements and as many rules as there are pairs.
 *
 * Chains: `NAME` (and `NAME_INTERFACE` for routes of a device) look up (source, destination); the same with `_back` look
 * up a reply, the other way round.
 */
export function lookupChains(
  name: string,
  table: RouteTable,
  verdict: (route: Route) => string,
  memory: ElementMemory = new ElementMemory()
): NftObject[] {
  return [null, ...table.devices].flatMap((device) => {
    const scope = mapName(name, device)
    const families = ([4, 6] as const).map((family) => ({ family, spaces: table.spaces(device, family) }))
    const maps = families.flatMap(({ family, spaces }) =>
      spaces
        .filter((space) => !isCatchAll(space))
        .map((space) => nftMap(`${scope}_${spaceName(family, space)}`, family, space, verdict, memory))
    )
    const chains = ['', '_back'].flatMap((way) => [
      ...families.map(({ family, spaces }) => {
        const rules = spaces.map((space) =>
          lookupRule(scope, family, space, way === '_back', table.host.attached, verdict)
        )
        return chain(`${scope}${way}${family}`, rules)
      }),
      chain(`${scope}${way}`, [`meta nfproto ipv4 goto ${scope}${way}4`, `meta nfproto ipv6 goto ${scope}${way}6`])
    ])
    return [...maps, ...chains]
  })
}

/** nft names start with a letter; a device's name follows the map's. */
export const mapName = (name: string, device: string | null): string => (device == null ? name : `${name}_${device}`)

/** "No CIDR" and a prefix of length 0 ask nothing of an address (and nft masks nothing away to nothing). */
const isCatchAll = (space: Space): boolean => space.sourceLength <= 0 && space.destLength <= 0
const spaceName = (family: Family, { sourceLength, destLength }: Space): string =>
  `${family}_${sourceLength < 0 ? 'x' : sourceLength}_${destLength < 0 ? 'x' : destLength}`

/** Elements of maps by their names, as they were last. */
export class ElementMemory {
  #before = new Map<string, MappedList<Route, string>>()
  #now = new Map<string, MappedList<Route, string>>()

  elementsOf(name: string, verdict: (route: Route) => string, routes: readonly Route[]): readonly string[] {
    const elements = this.#now.get(name) ?? this.#before.get(name) ?? new MappedList(elementOf(verdict))
    this.#now.set(name, elements)
    return elements.of(routes)
  }

  /** A ruleset is done: what it has not asked for is forgotten. */
  done(): void {
    this.#before = this.#now
    this.#now = new Map()
  }
}

function nftMap(
  name: string,
  family: Family,
  space: Space,
  verdict: (route: Route) => string,
  memory: ElementMemory
): NftObject {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr'
  const columns = Number(space.sourceLength > 0) + Number(space.destLength > 0)
  return map(name, Array<string>(columns).fill(type).join(' . '), memory.elementsOf(name, verdict, space.routes))
}

/** Elements for a verdict, which is one of few functions of a route alone. */
const elementOf = once((verdict: (route: Route) => string) =>
  once((route: Route) => {
    const asked = [route.source, route.dest].filter((prefix) => prefix != null).filter(({ length }) => length > 0)
    return `${asked.map(formatAddress).join(' . ')} : ${verdict(route)}`
  })
)

/** One look into a map. Destinations in an attached network longer than this space's destinations pass by. */
function lookupRule(
  scope: string,
  family: Family,
  space: Space,
  back: boolean,
  attached: readonly Prefix[],
  verdict: (route: Route) => string
): string {
  const protocol = family === 4 ? 'ip' : 'ip6'
  const [source, dest] = back ? ['daddr', 'saddr'] : ['saddr', 'daddr']
  const passed = outermost(
    attached.filter((net) => net.family === family && net.length > Math.max(0, space.destLength))
  )
  const guard = passed.length === 0 ? '' : `${protocol} ${dest} != { ${passed.map(formatPrefix).join(', ')} } `
  if (isCatchAll(space)) {
    const [route] = space.routes
    return `${guard}${route == null ? 'return' : verdict(route)}`
  }
  const key = [
    space.sourceLength <= 0 ? null : masked(`${protocol} ${source}`, family, space.sourceLength),
    space.destLength <= 0 ? null : masked(`${protocol} ${dest}`, family, space.destLength)
  ].filter((part) => part != null)
  return `${guard}${key.join(' . ')} vmap @${scope}_${spaceName(family, space)}`
}

const masked = (field: string, family: Family, length: number): string =>
  length === BITS[family] ? field : `${field} & ${formatAddress({ family, value: mask(family, length) })}`

/** Without networks inside other ones: nft refuses overlapping intervals. */
function outermost(networks: readonly Prefix[]): Prefix[] {
  const kept: Prefix[] = []
  for (const network of networks.toSorted((a, b) => a.length - b.length)) {
    if (!kept.some((outer) => contains(outer, network))) kept.push(network)
  }
  return kept
}
