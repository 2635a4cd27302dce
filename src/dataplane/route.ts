import type { RouteId, ServiceId } from '../crdt/schema.ts'
import type { Address, Prefix } from './prefix.ts'
import { compareText } from '../order.ts'

export interface Route {
  id: RouteId
  serviceId: ServiceId
  device: string | null
  source: Prefix | null
  dest: Prefix | null
  priority: number
}

export interface Packet {
  /** Name of the interface the packet enters by; null when it is made on this host or it does not matter. */
  interface: string | null
  source: Address
  dest: Address
}

/**
 * Negative when `a` is asked before `b`. What follows the ids says nothing of routes as they should be, whose ids are their own;
 * it makes the order the same wherever the routes came from.
 */
export function compareRoutes(a: Route, b: Route): number {
  return (
    Number(a.device == null) - Number(b.device == null) ||
    compareLengths(a, b) ||
    b.priority - a.priority ||
    compareText(a.id, b.id) ||
    compareText(a.serviceId, b.serviceId) ||
    compareNetworks(a, b)
  )
}

/** The more specific lengths first. */
export const compareLengths = (a: Route, b: Route): number =>
  kindOf(a) - kindOf(b) || lengthOf(b.source) - lengthOf(a.source) || lengthOf(b.dest) - lengthOf(a.dest)

/** By the first addresses, source before destination; of routes whose lengths are the same. */
export const compareNetworks = (a: Route, b: Route): number =>
  compareValues(valueOf(a.source), valueOf(b.source)) || compareValues(valueOf(a.dest), valueOf(b.dest))
export const valueOf = (prefix: Prefix | null): bigint => prefix?.value ?? 0n
export const compareValues = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)

/** 0 to 3, in the order they are asked: both CIDRs, source only, destination only, none. */
export const kindOf = ({ source, dest }: Route): number =>
  source == null ? (dest == null ? 3 : 2) : dest == null ? 1 : 0
export const lengthOf = (prefix: Prefix | null): number => prefix?.length ?? -1
