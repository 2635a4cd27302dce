import { FIRST, incarnationOf, type AuthEntry, type Cut } from './authlog.ts'
import type { Envelope } from './envelope.ts'
import type { Genesis } from './genesis.ts'
import type { Invite } from './invite.ts'
import { seniorityOf } from './seniority.ts'
import type { PeerId, Role } from './schema.ts'

/**
 * Who may do what, as a pure function of the set of auth entries: the order in which they arrived has no part in it.
 *
 * 1. The founder is an admin. Entries are looked at in the order of their authors' seniority (`seniority.ts`), each
 *    author's in the order it wrote them, again and again until all are decided.
 * 2. An entry counts when its author is a member, was an admin as of that entry (`leave` and `proof` need no admin),
 *    and no revocation, departure, proof or loss of role that counts cuts it off.
 * 3. It is not decided as long as an undecided entry might cut it off or lift its author.
 * 4. When all that is left waits for each other (two admins have revoked each other while they could not hear of it),
 *    the most senior author in such a circle prevails: its first open entry counts, what would cut that off is void.
 *
 * `docs/decisions/0005-who-prevails.md` has the reasons and the outcomes.
 */
export function membersOf(genesis: Genesis, entries: Iterable<Signed>): Membership {
  return new Court(genesis, entries).judge()
}

export interface Signed {
  envelope: Pick<Envelope, 'authorId' | 'actor' | 'seq' | 'writtenAt' | 'hash'>
  entry: AuthEntry
}

/** An entry that says something about members to this version. */
interface Known extends Signed {
  entry: Exclude<AuthEntry, { operation: 'unknown' | 'epoch' }>
}

const isKnown = (signed: Signed): signed is Known =>
  signed.entry.operation !== 'unknown' && signed.entry.operation !== 'epoch'

export interface Admission {
  role: Role
  admittedBy: PeerId
  /** Wall-clock ms by the admitting peer's clock. */
  admittedAt: number
  /** The name that it asked for; null for the founder. */
  name: string | null
}

/** How somebody who was a member has ceased to be one. */
export interface Departure {
  how: 'revoked' | 'left' | 'proven'
  /** Who revoked it or proved what it did; itself when it left. */
  by: PeerId
  /** Wall-clock ms by that peer's clock. */
  at: number
  name: string | null
}

export interface Membership {
  members: ReadonlyMap<PeerId, Admission>
  departed: ReadonlyMap<PeerId, Departure>
  /** Peers admitted by each invite, see {@link inviteKey}. */
  redeemed: ReadonlyMap<string, readonly PeerId[]>
  /** Entries that do not count: hash → why. */
  refused: ReadonlyMap<string, string>
  /** Why something that a peer wrote does not count; null when it does. */
  fault(written: Written): string | null
  /** The entry that gave a peer its present role, and the admissions that make it a member. */
  standing(peer: PeerId): { roleBy: string; admissions: string[] }
  /** Equal for two that judge all changes alike. */
  digest: string
}

/** Of a change or an entry: who wrote it, its place among what that author wrote, and what it takes. */
export interface Written {
  authorId: PeerId
  actor: string
  seq: number
  needsAdmin: boolean
}

/** Ids are chosen by who makes an invite; another member reusing one must not use it up. */
export const inviteKey = ({ inviter, id }: Pick<Invite, 'inviter' | 'id'>): string => `${inviter}/${id}`

export const isBeyond = (cut: Cut, { actor, seq }: { actor: string; seq: number }): boolean =>
  seq > (cut.get(actor) ?? 0)

/** What counts about one peer. */
interface Standing {
  admissions: Array<Admission & { hash: string }>
  ends: Set<string>
  roles: Array<{ hash: string; role: Role; cut: Cut }>
  cuts: Array<{
    hash: string
    cut: Cut
    how: Departure['how']
    by: PeerId
    at: number
    incarnation: number
    ends: readonly string[]
  }>
}

class Court {
  readonly #genesis: Genesis
  readonly #seniority: (peer: PeerId) => number
  readonly #open: Set<Known>
  readonly #standings = new Map<PeerId, Standing>()
  /** Open entries that would cut off what their target wrote, and such that might make it a member or an admin. */
  readonly #attacks = new Map<PeerId, Set<Known>>()
  readonly #lifts = new Map<PeerId, Set<Known>>()
  readonly #redeemed = new Map<string, PeerId[]>()
  readonly #refused = new Map<string, string>()

  constructor(genesis: Genesis, entries: Iterable<Signed>) {
    this.#genesis = genesis
    const all = [...entries].filter(isKnown)
    const seniority = seniorityOf(genesis.founder, all)
    this.#seniority = seniority
    this.#open = new Set(
      all.sort((a, b) => seniority(a.envelope.authorId) - seniority(b.envelope.authorId) || byPlace(a, b))
    )
    const founder = { role: 'admin', admittedBy: genesis.founder, admittedAt: genesis.createdAt, name: null } as const
    this.#standing(genesis.founder).admissions.push({ ...founder, hash: FIRST })
    for (const signed of this.#open) {
      const { peer } = signed.entry
      // Nobody is attacked or lifted by itself: its own entries have their own order.
      if (peer === signed.envelope.authorId) continue
      if (isAttack(signed.entry)) add(this.#attacks, peer, signed)
      else add(this.#lifts, peer, signed)
    }
  }

  judge(): Membership {
    // Two signatures prove themselves, whoever hands them in, and whatever else is decided.
    for (const signed of this.#open) if (signed.entry.operation === 'proof') this.#count(signed)
    while (this.#open.size > 0) {
      let moved = false
      for (const signed of this.#open) moved = this.#try(signed) || moved
      if (!moved) this.#breakCircle()
    }
    return this.#outcome()
  }

  /** True when the entry was decided. */
  #try(signed: Known): boolean {
    const { envelope } = signed
    const mayBeLifted = (this.#lifts.get(envelope.authorId)?.size ?? 0) > 0
    const cutOff = this.#cutOff(envelope)
    if (cutOff != null) return cutOff === CUT_OFF.left && mayBeLifted ? false : this.#void(signed, cutOff)
    if (!this.#mayWrite(signed)) {
      if (mayBeLifted) return false
      const isMember = this.#standing(envelope.authorId).admissions.length > 0
      return this.#void(signed, isMember ? 'its author was no admin' : 'its author was no member')
    }
    if (this.#isAttacked(signed)) return false
    return this.#count(signed)
  }

  #mayWrite({ envelope, entry }: Known): boolean {
    const role = this.#roleAt(envelope)
    return role === 'admin' || (role != null && entry.operation === 'leave')
  }

  #isAttacked({ envelope }: Known): boolean {
    for (const { entry } of this.#attacks.get(envelope.authorId) ?? []) {
      if ('cut' in entry && isBeyond(entry.cut, envelope)) return true
    }
    return false
  }

  #count(signed: Known): true {
    const { envelope, entry } = signed
    const reason = this.#refusal(signed)
    if (reason != null) return this.#void(signed, reason)
    this.#close(signed)
    const { hash, authorId, writtenAt } = envelope
    const standing = this.#standing(entry.peer)
    if (entry.operation === 'admit') {
      const { role, name, invite } = entry
      standing.admissions.push({ hash, role, name, admittedBy: authorId, admittedAt: writtenAt })
      const peers = this.#redeemed.get(inviteKey(invite)) ?? []
      if (!peers.includes(entry.peer)) this.#redeemed.set(inviteKey(invite), [...peers, entry.peer])
      return true
    }
    const { cut } = entry
    if (entry.operation === 'role') {
      standing.roles.push({ hash, role: entry.role, cut })
      return true
    }
    const how = entry.operation === 'revoke' ? 'revoked' : entry.operation === 'leave' ? 'left' : 'proven'
    const ends = entry.operation === 'leave' ? entry.ends : []
    for (const admission of ends) standing.ends.add(admission)
    const incarnation = incarnationOf(envelope.actor)
    standing.cuts.push({ hash, cut, how, by: authorId, at: writtenAt, incarnation, ends })
    return true
  }

  /** Why an entry does not count although its author may write it. */
  #refusal({ envelope, entry }: Known): string | null {
    if (entry.operation === 'role') {
      const { roleBy } = this.#present(entry.peer)
      return entry.replaces === roleBy ? null : 'the role had been changed meanwhile'
    }
    if (entry.operation !== 'admit') return null
    const { invite } = entry
    if (invite.clusterId !== this.#genesis.clusterId) return 'its invite is of another cluster'
    if (entry.role !== invite.role) return `its invite is for role ${invite.role}`
    if (envelope.writtenAt >= invite.expiresAt) return 'its invite had expired'
    const peers = this.#redeemed.get(inviteKey(invite)) ?? []
    if (!peers.includes(entry.peer) && peers.length >= invite.uses) return 'its invite was used up'
    return null
  }

  #void(signed: Known, reason: string): true {
    this.#close(signed)
    this.#refused.set(signed.envelope.hash, reason)
    return true
  }

  #close(signed: Known): void {
    this.#open.delete(signed)
    this.#attacks.get(signed.entry.peer)?.delete(signed)
    this.#lifts.get(signed.entry.peer)?.delete(signed)
  }

  /**
   * Everything open waits. Among the authors that wait for each other and for nobody else, the most senior one that may
   * write prevails; where none may, they only hold up one another, and all they wrote is void.
   */
  #breakCircle(): void {
    const openOf = new Map<PeerId, Set<Known>>()
    for (const signed of this.#open) add(openOf, signed.envelope.authorId, signed)
    const waitsFor = new Map<PeerId, Set<PeerId>>()
    for (const [author, list] of openOf) {
      for (const attack of this.#attacks.get(author) ?? []) {
        const { entry } = attack
        const hits = 'cut' in entry && [...list].some(({ envelope }) => isBeyond(entry.cut, envelope))
        if (hits) add(waitsFor, author, attack.envelope.authorId)
      }
      for (const lift of this.#lifts.get(author) ?? []) add(waitsFor, author, lift.envelope.authorId)
    }
    const authors = [...openOf.keys()].sort((a, b) => this.#seniority(a) - this.#seniority(b))
    const circle = authors
      .map((author) => reachable(author, waitsFor))
      .find((reached, i) => {
        const author = authors[i] as PeerId
        return [...reached].every((other) => other === author || reachable(other, waitsFor).has(author))
      })
    const inCircle = authors.filter((author) => circle?.has(author) === true)
    for (const author of inCircle) {
      const first = [...(openOf.get(author) ?? [])].find(
        (signed) => this.#mayWrite(signed) && this.#cutOff(signed.envelope) == null
      )
      if (first == null) continue
      for (const attack of this.#attacks.get(author) ?? []) {
        const { entry } = attack
        if ('cut' in entry && isBeyond(entry.cut, first.envelope)) {
          this.#void(attack, `a more senior admin, ${author}, did the opposite at the same time`)
        }
      }
      this.#count(first)
      return
    }
    for (const author of inCircle) {
      for (const signed of openOf.get(author) ?? []) this.#void(signed, 'its author was no admin')
    }
  }

  /** Why a counting entry cuts off what was written; null when none does. */
  #cutOff(written: { authorId: PeerId; actor: string; seq: number }): string | null {
    const standing = this.#standings.get(written.authorId)
    if (standing == null) return null
    for (const { cut, how, incarnation, ends } of standing.cuts) {
      if (!isBeyond(cut, written)) continue
      // Who left and was let in again writes under a later start of its agent.
      const isLater = how === 'left' && incarnationOf(written.actor) > incarnation
      if (!isLater || standing.admissions.every(({ hash }) => ends.includes(hash))) return CUT_OFF[how]
    }
    return null
  }

  /** null for somebody who was never admitted. */
  #roleAt(written: { authorId: PeerId; actor: string; seq: number }): Role | null {
    const standing = this.#standings.get(written.authorId)
    if (standing == null) return null
    const now = incarnationOf(written.actor)
    const ended = new Set(standing.cuts.flatMap(({ incarnation, ends }) => (incarnation < now ? ends : [])))
    const admission = standing.admissions.find(({ hash }) => !ended.has(hash)) ?? standing.admissions[0]
    if (admission == null) return null
    let { role } = admission
    for (const change of standing.roles) if (isBeyond(change.cut, written)) role = change.role
    return role
  }

  #present(peer: PeerId): { roleBy: string; admissions: string[] } {
    const standing = this.#standings.get(peer)
    const admissions = standing?.admissions.filter(({ hash }) => !standing.ends.has(hash)).map(({ hash }) => hash) ?? []
    return { roleBy: standing?.roles.at(-1)?.hash ?? admissions[0] ?? FIRST, admissions }
  }

  #standing(peer: PeerId): Standing {
    let standing = this.#standings.get(peer)
    if (standing == null) {
      standing = { admissions: [], ends: new Set(), roles: [], cuts: [] }
      this.#standings.set(peer, standing)
    }
    return standing
  }

  #outcome(): Membership {
    const members = new Map<PeerId, Admission>()
    const departed = new Map<PeerId, Departure>()
    for (const [peer, standing] of this.#standings) {
      const { admissions, ends, roles, cuts } = standing
      const admission = admissions.find(({ hash }) => !ends.has(hash))
      const out = cuts.find(({ how }) => how !== 'left') ?? (admission == null ? cuts.at(-1) : undefined)
      const name = (admission ?? admissions.at(-1))?.name ?? null
      if (out != null) departed.set(peer, { how: out.how, by: out.by, at: out.at, name })
      else if (admission != null) {
        const { admittedBy, admittedAt } = admission
        members.set(peer, { role: roles.at(-1)?.role ?? admission.role, admittedBy, admittedAt, name })
      }
    }
    const digest = [...this.#standings]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([peer, { admissions, ends, roles, cuts }]) =>
        [
          peer,
          ...admissions.map(({ hash }) => hash),
          ...ends,
          '|',
          ...[...roles, ...cuts].map(({ hash }) => hash)
        ].join()
      )
      .join('\n')
    return {
      members,
      departed,
      redeemed: this.#redeemed,
      refused: this.#refused,
      fault: (written) => this.#fault(written),
      standing: (peer) => this.#present(peer),
      digest
    }
  }

  #fault(written: Written): string | null {
    const cutOff = this.#cutOff(written)
    if (cutOff != null) return cutOff
    const role = this.#roleAt(written)
    if (role == null) return 'its author is not a member'
    if (written.needsAdmin && role !== 'admin') {
      return `its author was a ${role}, who may change its own peer record only`
    }
    return null
  }
}

const CUT_OFF: Record<Departure['how'], string> = {
  revoked: 'its author was revoked before it',
  left: 'its author had left before it',
  proven: 'its author signed two things as one and is revoked for it'
}

const isAttack = (entry: AuthEntry): boolean =>
  entry.operation === 'revoke' || (entry.operation === 'role' && entry.role !== 'admin')

function reachable(from: PeerId, waitsFor: ReadonlyMap<PeerId, ReadonlySet<PeerId>>): Set<PeerId> {
  const found = new Set([from])
  for (const peer of found) for (const next of waitsFor.get(peer) ?? []) found.add(next)
  return found
}

/** The order in which one author wrote: by start of its agent, then by number. */
function byPlace(a: Signed, b: Signed): number {
  const [x, y] = [a.envelope, b.envelope]
  if (x.actor !== y.actor) return x.actor < y.actor ? -1 : 1
  return x.seq - y.seq || (x.hash < y.hash ? -1 : 1)
}

function add<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key)
  if (set == null) sets.set(key, new Set([value]))
  else set.add(value)
}
