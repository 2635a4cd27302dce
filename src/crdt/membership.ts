import type { AuthEntry } from './authlog.ts'
import type { Envelope } from './envelope.ts'
import type { Genesis } from './genesis.ts'
import type { Invite } from './invite.ts'
import type { PeerId } from './schema.ts'
import type { Admission, Departure, Standings, Written } from './standings.ts'

export interface Signed {
  envelope: Pick<Envelope, 'authorId' | 'actor' | 'seq' | 'writtenAt' | 'hash'>
  entry: AuthEntry
}

/** An entry that says something about members to this version. */
export interface Known extends Signed {
  entry: Exclude<AuthEntry, { operation: 'unknown' | 'epoch' }>
}

export const isKnown = (signed: Signed): signed is Known =>
  signed.entry.operation !== 'unknown' && signed.entry.operation !== 'epoch'

/** What was made of one invite. */
export interface Redemption {
  /** Whom it has let in. */
  peers: readonly PeerId[]
  /** Peers that some entry would let in by it, whether or not it counts. */
  asked: number
  /** How many it is good for: the least that any invite of this name says. */
  uses: number
}

export interface Membership {
  members: ReadonlyMap<PeerId, Admission>
  departed: ReadonlyMap<PeerId, Departure>
  /** By {@link inviteKey}. */
  redeemed: ReadonlyMap<string, Redemption>
  /** Entries that do not count: hash → why. */
  refused: ReadonlyMap<string, string>
  /** Why something that a peer wrote does not count; null when it does. */
  fault(written: Written): string | null
  /** The entry that gave a peer its present role, and the admissions that make it a member. */
  standing(peer: PeerId): { roleBy: string; admissions: string[] }
  /** All about whom anything counts. */
  peers(): Iterable<PeerId>
  /** Equal for two that judge alike whatever the peer writes. */
  digestOf(peer: PeerId): string
  /**
   * Takes in one more entry where its outcome follows from this one, and answers about whom something else counts now.
   * Null, with nothing changed, where all have to be judged anew.
   */
  take(signed: Signed): readonly PeerId[] | null
}

/** Ids are chosen by who makes an invite; another member reusing one must not use it up. */
export const inviteKey = ({ inviter, id }: Pick<Invite, 'inviter' | 'id'>): string => `${inviter}/${id}`

/** Why an admission does not count although its author may write it and its invite is not used up; null when it does. */
export function inviteFault({ envelope, entry }: Known, genesis: Genesis): string | null {
  if (entry.operation !== 'admit') return null
  const { invite } = entry
  if (invite.clusterId !== genesis.clusterId) return 'its invite is of another cluster'
  if (entry.role !== invite.role) return `its invite is for role ${invite.role}`
  return envelope.writtenAt >= invite.expiresAt ? 'its invite had expired' : null
}

/**
 * What came out of judging some entries, and of what was let follow from it.
 *
 * An admission can follow when nothing else could come of it, in whatever order all is judged: its author is the founder
 * or was let in exactly once, as an admin, and no entry is about it but that; its peer is new, nothing is about it or by
 * it; and the invite is good for all that any entry would let in by it. Nobody can cut off or lift such an author any
 * more, so the entry is decided as soon as its author's own admission is; until then it only waits for that one, as its
 * author does already, so it is in no circle that was not one without it; and once it counts, nothing that was decided
 * has asked for what it changes. `docs/decisions/0017-membership.md` has the argument step by step.
 */
export class Judged implements Membership {
  readonly members = new Map<PeerId, Admission>()
  readonly departed = new Map<PeerId, Departure>()
  readonly redeemed: Map<string, Redemption>
  readonly refused: Map<string, string>
  readonly #genesis: Genesis
  readonly #standings: Standings
  /** Of each peer, how many entries are about it. */
  readonly #about = new Map<PeerId, number>()
  readonly #authors = new Set<PeerId>()

  /** `entries`: all that were judged. The rest is this object's own from now on. */
  constructor(
    genesis: Genesis,
    entries: readonly Known[],
    outcome: { standings: Standings; refused: Map<string, string>; redeemed: Map<string, Redemption> }
  ) {
    this.#genesis = genesis
    this.#standings = outcome.standings
    this.refused = outcome.refused
    this.redeemed = outcome.redeemed
    for (const signed of entries) this.#note(signed)
    for (const peer of outcome.standings.peers()) {
      const { member, departed } = outcome.standings.outcome(peer)
      if (member != null) this.members.set(peer, member)
      if (departed != null) this.departed.set(peer, departed)
    }
  }

  fault(written: Written): string | null {
    return this.#standings.fault(written)
  }

  standing(peer: PeerId): { roleBy: string; admissions: string[] } {
    return this.#standings.present(peer)
  }

  peers(): Iterable<PeerId> {
    return this.#standings.peers()
  }

  digestOf(peer: PeerId): string {
    return this.#standings.digestOf(peer)
  }

  take(signed: Signed): readonly PeerId[] | null {
    if (!isKnown(signed)) return []
    const { envelope, entry } = signed
    const { authorId, hash, writtenAt } = envelope
    if (entry.operation !== 'admit' || !this.#isUndisputed(authorId) || !this.#isNew(entry.peer)) return null
    const { peer, role, name, invite } = entry
    const key = inviteKey(invite)
    const before = this.redeemed.get(key) ?? { peers: [], asked: 0, uses: invite.uses }
    const [asked, uses] = [before.asked + 1, Math.min(before.uses, invite.uses)]
    if (asked > uses) return null
    this.#note(signed)
    const fault = inviteFault(signed, this.#genesis)
    if (fault != null) {
      this.redeemed.set(key, { ...before, asked, uses })
      this.refused.set(hash, fault)
      return []
    }
    this.redeemed.set(key, { peers: [...before.peers, peer], asked, uses })
    const admission = { hash, role, name, admittedBy: authorId, admittedAt: writtenAt }
    this.#standings.admitted(peer, admission)
    this.members.set(peer, admission)
    return [peer]
  }

  #isUndisputed(peer: PeerId): boolean {
    const about = this.#about.get(peer) ?? 0
    const admitted = peer === this.#genesis.founder ? 0 : 1
    return about === admitted && this.members.get(peer)?.role === 'admin'
  }

  #isNew(peer: PeerId): boolean {
    return peer !== this.#genesis.founder && !this.#about.has(peer) && !this.#authors.has(peer)
  }

  #note({ envelope, entry }: Known): void {
    this.#authors.add(envelope.authorId)
    this.#about.set(entry.peer, (this.#about.get(entry.peer) ?? 0) + 1)
  }
}
