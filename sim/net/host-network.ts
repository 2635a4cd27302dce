import type { Network } from '../../src/mesh/network.ts'

/** A network of a simulated host: the product's, and what checkers ask of it. */
export interface HostNetwork extends Network {
  start(): Promise<void>
  stop(): Promise<void>
  addresses(): string[]
  /** What is still held or listened to; nothing of it may be left after `stop`. */
  leftovers(): Record<string, number>
  /** What grows with load; for the checker of bounds. */
  load(): { channels: number; connections: number; remembered: number }
}

/** Which one runs: the light one, or real libp2p over the same wire. */
export type NetworkKind = 'light' | 'libp2p'
