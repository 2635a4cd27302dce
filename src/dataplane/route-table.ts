import type { ServiceId } from '../crdt/schema.ts'
import type { SteeringRoute } from './desired.ts'
import { attachedNetworkOf, whyNeverTaken, type HostNetworks } from './never-taken.ts'
import { compareRoutes, lengthOf, type Packet, type Route } from './route.ts'
import { explain, type Explanation } from './route-why.ts'
import { once } from './once.ts'
import { mask, parseAddress, parsePrefix, type Family } from './prefix.ts'

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
  entries: Map<string, Route>
}

export interface RouteTable {
  match(packet: Packet): Route | null
  explain(packet: Packet): Explanation
  /** All usable routes of one scope, best first. */
  ranked(device: string | null): Route[]
  /** The hash tables of one scope (a device's own routes, or the general ones), in the order they are asked. */
  spaces(device: string | null, family: Family): Space[]
  /** Devices that have routes of their own. */
  readonly devices: readonly string[]
  readonly host: HostNetworks
}

/**
 * `catchAll` says which routes without any CIDR count: those of a device (what this host sends), or every one (what a
 * peer may send here, where the device is the peer's business).
 */
export function compile(
  services: readonly RoutedService[],
  host: HostNetworks,
  { catchAll = 'device' }: { catchAll?: 'device' | 'always' } = {}
): RouteTable {
  const routes = services.flatMap(({ device, routes: own }) =>
    own.map((route) => parseRoute(route, device, catchAll === 'always' || device != null))
  )
  const usable = routes.filter((route) => route != null).toSorted(compareRoutes)
  const scopes = Map.groupBy(usable, (route) => route.device)
  const spaces = new Map<string | null, Record<Family, Space[]>>()
  for (const [device, own] of scopes) spaces.set(device, { 4: buildSpaces(own, 4), 6: buildSpaces(own, 6) })
  const spacesOf = (device: string | null, family: Family): Space[] => spaces.get(device)?.[family] ?? []

  const match = (packet: Packet): Route | null => {
    if (whyNeverTaken(host, packet.source, packet.dest) != null) return null
    const attached = attachedNetworkOf(host.attached, packet.dest)?.length ?? -1
    const own =
      packet.interface == null ? null : search(spacesOf(packet.interface, packet.dest.family), packet, attached)
    return own ?? search(spacesOf(null, packet.dest.family), packet, attached)
  }
  return {
    match,
    explain: (packet) => explain(usable, host, packet, match(packet)),
    ranked: (device) => scopes.get(device) ?? [],
    spaces: spacesOf,
    devices: [...scopes.keys()].filter((device) => device != null),
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

const keyOf = (source: bigint | null, dest: bigint | null): string => `${source ?? ''}>${dest ?? ''}`
const ownKey = once(({ source, dest }: Route) => keyOf(source?.value ?? null, dest?.value ?? null))

/** Null for a route that can match nothing: a CIDR that is none, two families, or no CIDR where one is needed. */
function parseRoute(given: SteeringRoute, device: string | null, mayCatchAll: boolean): Route | null {
  const route = parsed(given)
  if (route == null || (route.source == null && route.dest == null && !mayCatchAll)) return null
  return device == null ? route : { ...route, device }
}

const parsed = once((route: SteeringRoute): Route | null => {
  const source = route.sourceCidr == null ? null : parsePrefix(route.sourceCidr)
  const dest = route.destCidr == null ? null : parsePrefix(route.destCidr)
  if ((source == null) !== (route.sourceCidr == null) || (dest == null) !== (route.destCidr == null)) return null
  if (source != null && dest != null && source.family !== dest.family) return null
  return { id: route.id, serviceId: route.serviceId, device: null, source, dest, priority: route.priority }
})

/** `routes` come ordered, so the first of a key is its winner and spaces appear in the order they are asked. */
function buildSpaces(routes: readonly Route[], family: Family): Space[] {
  const spaces = new Map<string, Space>()
  for (const route of routes) {
    const { source, dest } = route
    if ((source ?? dest)?.family === (family === 4 ? 6 : 4)) continue
    const sourceLength = lengthOf(source)
    const destLength = lengthOf(dest)
    const pair = `${sourceLength}/${destLength}`
    const entries = spaces.get(pair)?.entries ?? new Map<string, Route>()
    if (entries.size === 0) spaces.set(pair, { sourceLength, destLength, entries })
    const key = ownKey(route)
    if (!entries.has(key)) entries.set(key, route)
  }
  return [...spaces.values()]
}

function search(spaces: readonly Space[], { source, dest }: Packet, attachedLength: number): Route | null {
  for (const { sourceLength, destLength, entries } of spaces) {
    if (attachedLength > Math.max(0, destLength)) continue
    const from = sourceLength < 0 ? null : source.value & mask(source.family, sourceLength)
    const to = destLength < 0 ? null : dest.value & mask(dest.family, destLength)
    const route = entries.get(keyOf(from, to))
    if (route != null) return route
  }
  return null
}
