import type { EnvelopeBytes, Replicated } from './replicated.ts'
import type {
  PeerId,
  PeerRecord,
  Policy,
  Role,
  RouteId,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServiceId,
  ServiceInput,
  ServicePatch,
  ServiceRecord,
  TokenId,
  TokenRecord
} from './schema.ts'
import type { Contradiction } from './cluster.ts'
import type { Kind } from './document.ts'
import type { TokenInput } from './token.ts'
import type { HistoryEntry, HistoryFilter, HistoryObject } from './history.ts'
import type { Origin } from './origin.ts'
import type { Moment, Past } from './past.ts'
import type { ActorNote } from './note.ts'
import type { Verification } from './verify.ts'
import type { View } from './view.ts'

/**
 * The replicated state as the rest of the agent uses it; {@link Replica} is the real one. Reads are snapshots, writes
 * resolve once they are durable here (log + fdatasync), and only then are they in `view()` and handed to `onLocal`.
 *
 * Writes reject with ArcticError: NotInClusterError, UnavailableError when the disk refuses, else what each one names.
 */
export interface ReplicatedState extends Replicated {
  readonly self: PeerId
  /** The last durable snapshot. Never null: before a cluster exists it is empty and `cluster` is null. */
  view(): View
  /** Called after each change of the view, in order, with the one before. Returns the unsubscriber. */
  onView(listener: (view: View, previous: View) => void): () => void
  /** Called for each envelope of another peer that has become durable here. Returns the unsubscriber. */
  onReceived(listener: (envelope: ReceivedEnvelope) => void): () => void
  /** Damage that was found on disk and what was done about it; null when all is well. For `status` and `doctor`. */
  damage(): Damage | null

  /** Founds a cluster with this peer as its first admin. AlreadyInClusterError. Returns the cluster id. */
  init(input: { name: string; record: PeerRecord }): Promise<string>
  /** One line of URL-safe text. InvalidRequestError for a ttl, use count or address list out of bounds. */
  createInvite(input: { ttlMs: number; uses: number; role: Role; addresses: string[] }): string
  /**
   * Admits `peer` by a token of this cluster, checking everything again. A peer that is a member already is left as it
   * is. InviteInvalidError, InviteExpiredError, InviteUsedError, NameTakenError, InvalidRequestError (bad peer id).
   */
  admit(input: { token: string; peer: PeerId; name: string }): Promise<void>
  /** All that a joiner needs: the genesis and every envelope, in an order in which they can be applied. */
  bootstrap(): Bootstrap
  /**
   * Enters the cluster of `token` with what an admitting member handed over; the set must hold this peer's own
   * admission, the rest may follow by `receive`. AlreadyInClusterError; InviteInvalidError when the genesis is not the
   * one that the token names, UnavailableError when the envelopes do not admit this peer.
   */
  adopt(input: Bootstrap & { token: string }): Promise<void>
  /**
   * A snapshot that is enough to serve with, and what a joiner needs to believe it: all of the auth log. null when the
   * whole history is verified sooner. UnavailableError.
   */
  bootstrapSnapshot(): Promise<SnapshotBootstrap | null>
  /**
   * Enters the cluster as `adopt` does, with a snapshot that an admin has signed; the history behind it is to follow by
   * `receiveBehind`. `refused` says why the snapshot is not used; then this peer is in no cluster.
   */
  adoptSnapshot(input: SnapshotBootstrap & { token: string }): Promise<{ refused: string } | null>
  /** What was wrong with the snapshot that this peer joined with; null when nothing was, or since this start. */
  contradiction(): Contradiction | null

  /**
   * Throws a member out, for good; what it wrote and this peer has not seen does not count. PeerNotFoundError,
   * ForbiddenError for who is no admin.
   */
  revoke(peer: PeerId): Promise<void>
  /** PeerNotFoundError, ForbiddenError, ConflictError for the last admin. What the peer wrote keeps the right it had. */
  setRole(peer: PeerId, role: Role): Promise<void>
  /** Gives a member another name. PeerNotFoundError, NameTakenError, ForbiddenError for another's unless an admin. */
  renamePeer(peer: PeerId, name: string): Promise<PeerRecord>
  /**
   * Signs this peer's departure, which others have yet to be told; nothing happens when it is no member any more.
   * ConflictError for the last admin among several members.
   */
  leave(): Promise<void>
  /** The auth log: it shows others what this peer is, or was until it left. Empty outside a cluster. */
  authLog(): EnvelopeBytes[]
  /**
   * The part of the auth log that tells a peer of its own exclusion, and nothing that was written after it; empty for
   * anybody who was not thrown out.
   */
  farewell(peer: PeerId): EnvelopeBytes[]
  /**
   * Forgets the cluster and puts its log aside, so that this peer can enter another; returns the log's path.
   * NotInClusterError, UnavailableError.
   */
  forget(): Promise<string>
  /** The changes and entries of the cluster, newest first. NotInClusterError. */
  history(filter: HistoryFilter): Promise<HistoryEntry[]>
  /** Signs what the history has come to, for who joins. ForbiddenError for who is no admin, UnavailableError. */
  signEpoch(): Promise<HistoryEntry>
  /** Verifies everything that is held once more, from the genesis on. */
  verify(): Promise<Verification>
  /**
   * The cluster as it was at a moment. InvalidRequestError for a time before it or to come, ConflictError (409) for a change
   * that does not count, `not_found`.
   */
  past(moment: Moment): Promise<Past>
  /** The last change that counts and that wrote a record; null when none did. */
  originOf(kind: Kind, id: string): Origin | null

  /** Writes this peer's own record; nothing happens when it is equal. NameTakenError, InvalidRequestError. */
  putPeer(record: PeerRecord): Promise<PeerRecord>
  /** InvalidRequestError, InvalidCidrError, TargetPeerNotAdmittedError, ServiceLimitExceededError, TransparentRequiresInterfaceError, … */
  createService(input: ServiceInput): Promise<ServiceRecord>
  /** Changes the fields it is given. ServiceNotFoundError and as in `createService`. */
  updateService(id: ServiceId, patch: ServicePatch): Promise<ServiceRecord>
  /** Deletes the service and its routes in one change. ServiceNotFoundError. */
  deleteService(id: ServiceId): Promise<void>
  /** All or nothing, in one change. ServiceNotFoundError, InvalidCidrError, InvalidRequestError. */
  addRoutes(serviceId: ServiceId, inputs: RouteInput[]): Promise<RouteRecord[]>
  /** RouteNotFoundError, InvalidCidrError, InvalidRequestError. */
  updateRoute(serviceId: ServiceId, id: RouteId, patch: RoutePatch): Promise<RouteRecord>
  deleteRoute(serviceId: ServiceId, id: RouteId): Promise<void>

  /** `text` is what the token's owner shows; it is kept nowhere. InvalidRequestError, NameTakenError. */
  createToken(input: TokenInput): Promise<{ record: TokenRecord; text: string }>
  /** TokenNotFoundError. */
  revokeToken(id: TokenId): Promise<void>
  /** Changes the fields it is given. InvalidRequestError. */
  setPolicy(patch: Partial<Policy>): Promise<Policy>
  /** Writes into the history that an event was sent to an actor here; nothing else changes. */
  note(note: ActorNote): Promise<void>
  /**
   * Writes the inverse of a change of services and routes, named by its hash or a start of it. ConflictError (409) says
   * what has changed since; InvalidRequestError for what is not to be undone; `not_found`; ForbiddenError.
   */
  undo(change: string, agree?: (objects: readonly HistoryObject[]) => void): Promise<Undone>

  /** Waits for what is being written, then releases the directory. Writes after it are refused. */
  close(): Promise<void>
}

export interface Undone {
  /** Hash of the change that was undone. */
  undone: string
  /** The one that did it. */
  change: HistoryEntry
}

export interface Bootstrap {
  genesis: Uint8Array
  envelopes: EnvelopeBytes[]
}

export interface SnapshotBootstrap {
  genesis: Uint8Array
  /** All of the auth log, the epoch that names the snapshot in it. */
  auth: EnvelopeBytes[]
  snapshot: Uint8Array
}

/** Wall-clock ms: `receivedAt - writtenAt` is the propagation time, give or take the two clocks' difference. */
export interface ReceivedEnvelope {
  author: PeerId
  /** Hex. */
  hash: string
  writtenAt: number
  /** When it was durable here. */
  receivedAt: number
}

export interface Damage {
  /** A sentence for an operator: what is broken, what was kept, what happens next. */
  message: string
  /** The untouched copy of the damaged file. */
  keptAs: string
}
