import type {
  PeerId,
  PeerRecord,
  Policy,
  Role,
  RouteId,
  RouteRecord,
  ServiceId,
  ServiceRecord,
  TokenId,
  TokenRecord
} from './schema.ts'

/** One member of the cluster: admitted by the auth log, described by its own record once that has arrived. */
export interface Member {
  id: PeerId
  /** The record's name; until that has arrived, the name it asked for when joining. */
  name: string
  role: Role
  /** The admitting member; the founder admitted itself. */
  admittedBy: PeerId
  /** ISO 8601. */
  admittedAt: string
  record: PeerRecord | null
}

/** Who was a member once: thrown out, for good, or gone by itself. */
export interface DepartedMember {
  id: PeerId
  name: string
  /** `proven`: revoked by the proof that it signed two things as one. */
  how: 'revoked' | 'left' | 'proven'
  by: PeerId
  /** ISO 8601. */
  at: string
}

/** A change that is in the log but not in the view, and why. `cluster status` lists them. */
export interface RejectedChange {
  hash: string
  author: PeerId
  reason: string
}

/**
 * The cluster as it should be: an immutable snapshot of the folded, validated document. A route whose service is gone
 * and anything that fails validation are not in it.
 */
export interface View {
  /** Grows by one with every change of the view on this peer; says nothing about other peers. */
  readonly revision: number
  readonly cluster: { readonly id: string; readonly name: string } | null
  readonly members: ReadonlyMap<PeerId, Member>
  /** Left out where nobody has departed. */
  readonly departed?: ReadonlyMap<PeerId, DepartedMember>
  /** One of `heads`: stands for the auth log, so whoever announces it knows the same members and revocations. */
  readonly authHead?: string
  readonly services: ReadonlyMap<ServiceId, ServiceRecord>
  readonly routes: ReadonlyMap<RouteId, RouteRecord>
  /** Routes by service, ordered by id. */
  readonly routesOf: ReadonlyMap<ServiceId, readonly RouteRecord[]>
  readonly tokens: ReadonlyMap<TokenId, TokenRecord>
  readonly policy: Policy
  readonly rejected: readonly RejectedChange[]
  /** Sorted hex hashes; equal on all peers that hold the same document. */
  readonly heads: readonly string[]
}

/** What a peer is that is no member. Who has left may come back, and is a stranger until then. */
export function strangerState(id: PeerId, { departed }: Pick<View, 'departed'>): 'discovered' | 'revoked' {
  const how = departed?.get(id)?.how
  return how == null || how === 'left' ? 'discovered' : 'revoked'
}
