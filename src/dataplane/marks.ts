/**
 * Every number by which the kernel recognises our packets stands here: packet marks, rule priority, routing tables,
 * conntrack zones. All of them can be moved by configuration, because on a shared host any of them may be taken
 * (Kubernetes 0xC000, Tailscale 0xFF0000, Calico 0xFFFF0000, Istio 1337).
 */
export interface MarkOptions {
  /** The bits of packet and conntrack marks that are ours; contiguous. The others are never changed. */
  mask: number
  /** Priority of our `ip rule`s. */
  rulePriority: number
  /** `proto` of our rules and routes: how we know them again, and how the kernel lists no others. */
  protocol: number
  /** First of our routing tables: this one for TPROXY, `table + index` for tunnel `index`. */
  table: number
  /** Tunnel `index` has conntrack zone `zone + index`, so that clients with one address behind two peers stay apart. */
  zone: number
}

export const DEFAULT_MARKS: MarkOptions = {
  mask: 0xff000000,
  rulePriority: 7946,
  protocol: 79,
  table: 79460,
  zone: 41472
}

export interface Marks {
  readonly mask: number
  /** The bits of others. */
  readonly keep: number
  readonly rulePriority: number
  readonly protocol: number
  /** Own sockets of the engines: never steered. */
  readonly bypass: number
  /** TCP on its way to a TPROXY listener. */
  readonly tproxy: number
  readonly tproxyTable: number
  /** Tunnels have indexes 1…tunnelsMax. */
  readonly tunnelsMax: number
  tunnel(index: number): number
  tunnelTable(index: number): number
  tunnelZone(index: number): number
  readonly zone: number
}

/** @throws {RangeError} when the mask is empty, has holes or leaves no room for tunnels */
export function createMarks(options: Partial<MarkOptions> = {}): Marks {
  const { mask, rulePriority, protocol, table, zone } = { ...DEFAULT_MARKS, ...options }
  const shift = 31 - Math.clz32(mask & -mask)
  const values = (mask >>> shift) + 1
  if (mask === 0 || (values & (values - 1)) !== 0)
    throw new RangeError(`mark mask ${hex(mask)} must be one run of bits`)
  if (values < 4) throw new RangeError(`mark mask ${hex(mask)} is too narrow; give at least two bits`)
  const value = (n: number): number => (n << shift) >>> 0
  const tunnelsMax = Math.min(values - 3, 65535 - zone)
  return {
    mask: mask >>> 0,
    keep: ~mask >>> 0,
    rulePriority,
    protocol,
    bypass: value(1),
    tproxy: value(2),
    tproxyTable: table,
    tunnelsMax,
    tunnel: (index) => value(2 + index),
    tunnelTable: (index) => table + index,
    tunnelZone: (index) => zone + index,
    zone
  }
}

export const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`
