import { isoTime } from '../clock.ts'
import type { Cluster } from './cluster.ts'
import type { Kind } from './document.ts'
import type { Entries } from './entries.ts'
import type { PeerId } from './schema.ts'

/** The change that made a record what it is. */
export interface Origin {
  /** Hex; names the change. */
  id: string
  author: PeerId
  /** ISO 8601, by the author's clock. */
  at: string
}

/** The last change that counts and that wrote a record, in the order of this peer's log; null when none did. */
export const originOf = (cluster: Cluster, kind: Kind, id: string): Origin | null =>
  originIn(cluster.ledger.entries, cluster.durableCount, kind, id)

/** The same of the first `count` entries of a log. */
export function originIn(entries: Entries, count: number, kind: Kind, id: string): Origin | null {
  const entry = entries.findLast(
    ({ valid, touches }) => valid && touches.some((touch) => touch.kind === kind && touch.id === id),
    count
  )
  return entry == null ? null : { id: entry.hash, author: entry.authorId, at: isoTime(entry.writtenAt) }
}
