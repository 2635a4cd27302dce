import type { PeerId } from './schema.ts'

/** Highest contiguous sequence number held of each author-actor (hex). Auth entries count as actors of their own. */
export type VersionVector = Record<string, number>

/** One signed change or auth-log entry in its envelope, ready for disk or wire. Opaque outside `crdt`. */
export type EnvelopeBytes = Uint8Array

export interface ReceiveResult {
  /** Envelopes that were new and are on disk now. */
  accepted: number
  /** Already held. */
  known: number
  /** Broken, forged or not allowed. Never stored. */
  refused: Array<{ reason: string }>
  /** Valid, but something before them is missing: ask for it by version vector. */
  gap: boolean
}

/** A snapshot is shown until the history behind it has come and been verified. */
export interface BehindState {
  verified: number
  /** Entries that the snapshot covers. */
  entries: number
  /** The entry of the auth log that names the snapshot, and who has signed it; null when there is none any more. */
  epoch: string | null
  author: PeerId | null
  /** To be named to others, who then hand over what is missing. */
  vector(): VersionVector
}

/** What `mesh` needs of the replica: everything here is bytes and vectors. */
export interface Replicated {
  /** null as long as this peer belongs to no cluster. */
  clusterId(): string | null
  /** The same object until something else is durable; nobody may change it. */
  vector(): VersionVector
  /** Envelopes that somebody with `vector` misses, in an order in which they can be applied; in chunks of at most `maxBytes`. */
  missing(vector: VersionVector, maxBytes: number): Iterable<EnvelopeBytes[]>
  /** Verifies, stores (fdatasync) and folds. Resolves when durable. `from` is who handed them over, for the log. */
  receive(envelopes: EnvelopeBytes[], from: PeerId): Promise<ReceiveResult>
  /** A cheap check before gossip is forwarded: well-formed, right cluster, author admitted, signature good. Never throws. */
  check(envelope: EnvelopeBytes): 'accept' | 'ignore' | 'reject'
  /** The history behind a snapshot that was taken over, as far as it has come; null when all is here. */
  behind(): BehindState | null
  /** As `receive`, for what is missing behind the snapshot; it says nothing to `onView` before all has come. */
  receiveBehind(envelopes: EnvelopeBytes[], from: PeerId): Promise<ReceiveResult>
  /** `by` has handed over all that it has of it. */
  behindEnded(by: PeerId): void
  /** Called with each envelope written here, after it is durable. Returns the unsubscriber. */
  onLocal(listener: (envelope: EnvelopeBytes) => void): () => void
  isMember(peer: PeerId): boolean
}
