import type { PeerId, Role, ServiceId } from '../crdt/schema.ts'
import type { PeerActors } from './actor-protocol/actors.ts'
import type { Twin } from './presence/twins.ts'
import type { Refused } from './refusals.ts'

/** What the rest of the agent sees of the mesh: who is there, who joins, and what peers report of their own work. */
export interface Mesh {
  readonly self: PeerId
  /** The actors of other members, and this agent's own for them. */
  readonly actors: PeerActors
  /** Everyone seen: members whether reachable or not, and strangers that were discovered. Cheap; call it often. */
  peers(): PeerPresence[]
  peer(id: PeerId): PeerPresence | null
  /** The same as its presence says, for those who want nothing else of it. */
  isReachable(id: PeerId): boolean
  /** Fires when any of a peer's presence fields changes materially (reachable, heads, report digest). */
  onPresence(listener: (presence: PeerPresence) => void): () => void
  /**
   * Fires after a peer's report (see {@link ServiceReport}) was fetched and differs from what was held. `news` are the
   * services about which it says something else, counters aside; without it any of them may be.
   */
  onReport(listener: (peer: PeerId, news?: readonly ServiceId[]) => void): () => void
  /** The last report fetched from `peer`; fetches it first when `fresh` is asked for. */
  report(peer: PeerId): ReadonlyMap<ServiceId, ServiceReport>
  refreshReport(peer: PeerId, options: { signal: AbortSignal }): Promise<ReadonlyMap<ServiceId, ServiceReport>>
  /**
   * Replaces what this peer reports about services that it is an endpoint of. Announced within 20 ms, coalesced.
   * `changed`: nothing else differs from the last call, so that only these are looked at.
   */
  publishReport(reports: ReadonlyMap<ServiceId, ServiceReport>, changed?: readonly ServiceId[]): void
  /** Makes an invite token. `ttlMs` from now; good for `uses` joins; `role` of who joins. */
  invite(options: { ttlMs: number; uses: number; role: Role }): Promise<string>
  /** Redeems a token: admitted, whole state synced. Errors: invite_*, already_in_cluster, name_taken, unavailable. */
  join(token: string, options: { signal: AbortSignal }): Promise<void>
  /**
   * Hands this peer's signed departure to every member that can be reached within a few seconds, so that it may forget
   * them. Never rejects.
   */
  depart(): Promise<{ told: PeerId[]; missed: PeerId[] }>
  /** Pulls from every reachable member now. */
  syncAll(options: { signal: AbortSignal }): Promise<SyncOutcome[]>
  /** Milliseconds from "written by its author" to "durable here", for changes of others seen lately; newest last. */
  propagation(): readonly number[]
  /** What others have spoken wrongly since the start, by protocol. */
  refusals(): readonly Refused[]
  /** Peers, this one among them, whose identity two agents bear at once: a state directory was copied. */
  twins(): readonly Twin[]
  start(): Promise<void>
  stop(): Promise<void>
}

export interface PeerPresence {
  id: PeerId
  /** admitted: in the auth log. revoked: thrown out by it. discovered: seen on the network, not a member. */
  state: 'discovered' | 'admitted' | 'revoked'
  /** Beats arrive and the connection stands. This peer itself is always reachable. */
  reachable: boolean
  /** Multiaddrs: of a member what its record says, else those of the live connection. */
  addresses: string[]
  rttMs: number | null
  /** Wall-clock ms of the last beat or message. */
  lastSeenAt: number | null
  version: string | null
  /** How far its wall clock is behind this one's, ms, as its beats tell; null or left out before the first. */
  clockBehindMs?: number | null
  /** Document heads the peer last announced; null before its first beat. */
  heads: readonly string[] | null
}

export interface SyncOutcome {
  peer: PeerId
  received: number
  sent: number
  error: string | null
}

/**
 * What an endpoint peer says about a service: which wish it has programmed, and how that went. `spec` is the digest of
 * the service, its routes and both peers' records (see `actors/reconcile/spec.ts`); two endpoints that report the same
 * spec as the view's have the same thing in force.
 */
export interface ServiceReport {
  service_id: ServiceId
  role: 'source' | 'target'
  spec: string
  state: 'applied' | 'failed'
  /** CamelCase reason and a sentence, when failed; empty otherwise. */
  reason: string
  message: string
  /** Wall-clock ms when this state began. */
  since: number
  effective_transport: 'tcp' | 'kcp' | null
  interface: { name: string; mac: string | null; ipv4: string | null; ipv6: string | null } | null
  /** Remarks that do not stop traffic (ForwardingDisabled, …); an endpoint of an older version says none. */
  warnings?: Array<{ reason: string; message: string }>
  flows: number
  bytes_in: number
  bytes_out: number
}
