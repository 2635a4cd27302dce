import { append } from '../append.ts'
import type { ServiceId } from '../crdt/schema.ts'
import type { SteeringRoute } from './desired.ts'
import { attachedNetworkOf, whyNeverTaken, type HostNetworks } from './never-taken.ts'
import {
  compareLengths,
  compareNetworks,
  compareRoutes,
  compareValues,
  lengthOf,
  valueOf,
  type Packet,
  type Route
} from './route.ts'
import { explain, type Explanation } from './route-why.ts'
import { byText, once } from '../once.ts'
import { mask, parseAddress, parsePrefix, type Family } from './prefix.ts'
import { lowerBound, merged } from './sorted-list.ts'
import { splicesOf } from './splices.ts'
import { compareText } from '../order.ts'

/**
 * Which service carries a packet, and why. The order is the contract's ("How a packet is matched") and total, so every
 * host answers alike. Lookups are by tuple-space search (Srinivasan, Suri, Varghese 1999): one hash table per pair of
 * prefix lengths, asked from the most specific pair on; `ruleset.ts` compiles the same tables into the kernel.
 */
export interface RoutedService {
  id: ServiceId
  /** The device of a service with its own interface; its routes match only what enters there. */
  device: string | null
  routes: readonly SteeringRoute[]
}

/** Routes of one pair of prefix lengths, the winner of each pair of networks only. -1 stands for "no CIDR". */
export interface Space {
  sourceLength: number
  destLength: number
  /** In the order of their networks. */
  routes: readonly Route[]
}

export interface RouteTable {
  match(packet: Packet): Route | null
  explain(packet: Packet): Explanation
  /** All usable routes of one scope, best first. */
  ranked(device: string | null): readonly Route[]
  /** The hash tables of one scope (a device's own routes, or the general ones), in the order they are asked. */
  spaces(device: string | null, family: Family): readonly Space[]
  /** Devices that have routes of their own. */
  readonly devices: readonly string[]
  /** Services with general routes, in the order of ids. */
  readonly services: readonly ServiceId[]
  readonly host: HostNetworks
}

/**
 * `catchAll` says which routes without any CIDR count: those of a device (what this host sends), or every one (what a
 * peer may send here, where the device is the peer's business).
 */
export function compile(
  services: readonly RoutedService[],
  host: HostNetworks,
  { catchAll = 'device' }: { catchAll?: CatchAll } = {}
): RouteTable {
  return new TableMaker(catchAll).make(services, host)
}

type CatchAll = 'device' | 'always'

/** Makes one table after the other, each from what differs in the services of the one before. */
export class TableMaker {
  readonly #catchAll: CatchAll
  #services: readonly RoutedService[] = []
  #scopes: ReadonlyMap<string | null, ScopeRoutes> = new Map()
  #withRoutes: readonly ServiceId[] = []
  /** General routes by their service. */
  readonly #counts = new Map<ServiceId, number>()
  #table: RouteTable | null = null

  constructor(catchAll: CatchAll = 'device') {
    this.#catchAll = catchAll
  }

  make(services: readonly RoutedService[], host: HostNetworks): RouteTable {
    const [gone, come]: [Route[], Route[]] = [[], []]
    for (const { removed, inserted } of splicesOf(this.#services, services)) {
      for (const service of removed) append(gone, this.#routesOf(service))
      for (const service of inserted) append(come, this.#routesOf(service))
    }
    this.#services = services
    const isSame = gone.length + come.length === 0
    if (isSame && this.#table?.host.own === host.own && this.#table.host.attached === host.attached) return this.#table
    if (!isSame) this.#change(gone, come)
    this.#table = tableOf(this.#scopes, this.#withRoutes, host)
    return this.#table
  }

  #routesOf({ device, routes }: RoutedService): Route[] {
    const mayCatchAll = this.#catchAll === 'always' || device != null
    return routes.map((route) => parseRoute(route, device, mayCatchAll)).filter((route) => route != null)
  }

  #change(gone: readonly Route[], come: readonly Route[]): void {
    const scopes = new Map(this.#scopes)
    const less = Map.groupBy(gone, ({ device }) => device)
    const more = Map.groupBy(come, ({ device }) => device)
    for (const device of new Set([...less.keys(), ...more.keys()])) {
      const scope = changedScope(scopes.get(device) ?? EMPTY, less.get(device) ?? [], more.get(device) ?? [])
      if (scope.ranked.length > 0) scopes.set(device, scope)
      else scopes.delete(device)
    }
    this.#scopes = scopes
    this.#count(less.get(null) ?? [], more.get(null) ?? [])
  }

  #count(gone: readonly Route[], come: readonly Route[]): void {
    const before = new Map<ServiceId, boolean>()
    const add = (id: ServiceId, one: 1 | -1): void => {
      const count = this.#counts.get(id) ?? 0
      if (!before.has(id)) before.set(id, count > 0)
      if (count + one > 0) this.#counts.set(id, count + one)
      else this.#counts.delete(id)
    }
    for (const { serviceId } of gone) add(serviceId, -1)
    for (const { serviceId } of come) add(serviceId, 1)
    const [less, more]: [ServiceId[], ServiceId[]] = [[], []]
    for (const [id, had] of before) {
      if (had && !this.#counts.has(id)) less.push(id)
      if (!had && this.#counts.has(id)) more.push(id)
    }
    this.#withRoutes = merged(this.#withRoutes, less, more, compareText)
  }
}

function tableOf(
  scopes: ReadonlyMap<string | null, ScopeRoutes>,
  services: readonly ServiceId[],
  host: HostNetworks
): RouteTable {
  const spacesOf = (device: string | null, family: Family): readonly Space[] => scopes.get(device)?.spaces[family] ?? []
  const match = (packet: Packet): Route | null => {
    if (whyNeverTaken(host, packet.source, packet.dest) != null) return null
    const attached = attachedNetworkOf(host.attached, packet.dest)?.length ?? -1
    const own =
      packet.interface == null ? null : search(spacesOf(packet.interface, packet.dest.family), packet, attached)
    return own ?? search(spacesOf(null, packet.dest.family), packet, attached)
  }
  const usable = (): Route[] => [...scopes.values()].flatMap(({ ranked }) => ranked).sort(compareRoutes)
  return {
    match,
    explain: (packet) => explain(usable(), host, packet, match(packet)),
    ranked: (device) => scopes.get(device)?.ranked ?? [],
    spaces: spacesOf,
    devices: [...scopes.keys()].filter((device) => device != null).sort(),
    services,
    host
  }
}

/** Text form of addresses to a packet; null when either is no address or they are of two families. */
export function parsePacket(packet: { interface: string | null; source: string; dest: string }): Packet | null {
  const source = parseAddress(packet.source)
  const dest = parseAddress(packet.dest)
  if (source == null || dest == null || source.family !== dest.family) return null
  return { interface: packet.interface, source, dest }
}

/** Null for a route that can match nothing: a CIDR that is none, two families, or no CIDR where one is needed. */
function parseRoute(given: SteeringRoute, device: string | null, mayCatchAll: boolean): Route | null {
  const route = parsed(given)
  if (route == null || (route.source == null && route.dest == null && !mayCatchAll)) return null
  return device == null ? route : ofDevice(route)(device)
}

const ofDevice = once((route: Route) => byText((device): Route => ({ ...route, device })))

const parsed = once((route: SteeringRoute): Route | null => {
  const source = route.sourceCidr == null ? null : parsePrefix(route.sourceCidr)
  const dest = route.destCidr == null ? null : parsePrefix(route.destCidr)
  if ((source == null) !== (route.sourceCidr == null) || (dest == null) !== (route.destCidr == null)) return null
  if (source != null && dest != null && source.family !== dest.family) return null
  return { id: route.id, serviceId: route.serviceId, device: null, source, dest, priority: route.priority }
})

/** Of a device, or the general ones. */
interface ScopeRoutes {
  ranked: readonly Route[]
  spaces: Record<Family, readonly FullSpace[]>
}

interface FullSpace extends Space {
  /** Those too that lose to another one of the same networks: in the order of networks, the winner of each first. */
  all: readonly Route[]
}

const EMPTY: ScopeRoutes = { ranked: [], spaces: { 4: [], 6: [] } }

function changedScope(scope: ScopeRoutes, gone: readonly Route[], come: readonly Route[]): ScopeRoutes {
  return {
    ranked: merged(scope.ranked, gone, come, compareRoutes),
    spaces: { 4: changedSpaces(scope.spaces[4], 4, gone, come), 6: changedSpaces(scope.spaces[6], 6, gone, come) }
  }
}

function changedSpaces(
  spaces: readonly FullSpace[],
  family: Family,
  gone: readonly Route[],
  come: readonly Route[]
): readonly FullSpace[] {
  const ofFamily = ({ source, dest }: Route): boolean => ((source ?? dest)?.family ?? family) === family
  const less = Map.groupBy(gone.filter(ofFamily), pairOf)
  const more = Map.groupBy(come.filter(ofFamily), pairOf)
  if (less.size + more.size === 0) return spaces
  const bySpace = new Map(spaces.map((space) => [`${space.sourceLength}/${space.destLength}`, space]))
  for (const pair of new Set([...less.keys(), ...more.keys()])) {
    const [goes, comes] = [less.get(pair) ?? [], more.get(pair) ?? []]
    const before = bySpace.get(pair)?.all ?? []
    const all = merged(before, goes, comes, compareInSpace)
    const [one] = all
    if (one == null) bySpace.delete(pair)
    else {
      const routes = winners(bySpace.get(pair), all, [...goes, ...comes])
      bySpace.set(pair, { sourceLength: lengthOf(one.source), destLength: lengthOf(one.dest), all, routes })
    }
  }
  return [...bySpace.values()].sort((a, b) => compareLengths(a.routes[0] as Route, b.routes[0] as Route))
}

/** The first of each pair of networks; looked for only where something has changed, if that is little. */
function winners(before: FullSpace | undefined, all: readonly Route[], changed: readonly Route[]): readonly Route[] {
  if (before == null || changed.length > changedMax)
    return all.filter((route, i) => i === 0 || compareNetworks(all[i - 1] as Route, route) !== 0)
  const [gone, come]: [Route[], Route[]] = [[], []]
  const seen: Route[] = []
  for (const route of changed) {
    if (seen.some((other) => compareNetworks(other, route) === 0)) continue
    seen.push(route)
    const was = winnerOf(before.all, route)
    const is = winnerOf(all, route)
    if (was === is) continue
    if (was != null) gone.push(was)
    if (is != null) come.push(is)
  }
  return merged(before.routes, gone, come, compareNetworks)
}

/** Above this all of a space is gone through. */
const changedMax = 32

function winnerOf(all: readonly Route[], route: Route): Route | null {
  const first = all[lowerBound(all, route, compareNetworks)]
  return first != null && compareNetworks(first, route) === 0 ? first : null
}

const pairOf = ({ source, dest }: Route): string => `${lengthOf(source)}/${lengthOf(dest)}`
const compareInSpace = (a: Route, b: Route): number => compareNetworks(a, b) || compareRoutes(a, b)

function search(spaces: readonly Space[], { source, dest }: Packet, attachedLength: number): Route | null {
  for (const { sourceLength, destLength, routes } of spaces) {
    if (attachedLength > Math.max(0, destLength)) continue
    const from = sourceLength < 0 ? 0n : source.value & mask(source.family, sourceLength)
    const to = destLength < 0 ? 0n : dest.value & mask(dest.family, destLength)
    const order = (route: Route): number =>
      compareValues(valueOf(route.source), from) || compareValues(valueOf(route.dest), to)
    const route = routes[lowerBound(routes, null, order)]
    if (route != null && order(route) === 0) return route
  }
  return null
}
