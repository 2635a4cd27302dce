import type { PeerId } from '../../crdt/schema.ts'
import { crossedDialMs } from '../limits.ts'

export interface Candidate {
  direction: 'inbound' | 'outbound'
  /** Monotonic ms. */
  openedAt: number
}

/**
 * Which of several connections between `self` and `peer` stays; both ends come to the same answer without talking.
 *
 * 1. Dials that crossed (opened within `crossedDialMs` of each other): the one that the smaller peer id made.
 * 2. Otherwise the newest: whoever dialled again knew that the older one was dead.
 */
export function keeper<T extends Candidate>(connections: readonly T[], self: PeerId, peer: PeerId): T | undefined {
  const newestFirst = connections.toSorted((a, b) => b.openedAt - a.openedAt)
  const newest = newestFirst[0]
  if (newest == null) return undefined
  const preferred = self < peer ? 'outbound' : 'inbound'
  return (
    newestFirst.find((one) => one.direction === preferred && newest.openedAt - one.openedAt <= crossedDialMs) ?? newest
  )
}
