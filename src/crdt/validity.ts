import { FIRST, incarnationOf, type AuthEntry } from './authlog.ts'
import type { Genesis } from './genesis.ts'
import { inviteFault, inviteKey, isKnown, Judged } from './membership.ts'
import type { Known, Membership, Redemption, Signed } from './membership.ts'
import type { PeerId } from './schema.ts'
import { seniorityOf } from './seniority.ts'
import { CUT_OFF, isBeyond, Standings } from './standings.ts'

/**
 * Who may do what, as a pure function of the set of auth entries: the order in which they arrived has no part in it.
 *
 * 1. The founder is an admin. Entries are looked at in the order of their authors' seniority (`seniority.ts`), each
 *    author's in the order it wrote them, again and again until all are decided.
 * 2. An entry counts when its author is a member, was an admin as of that entry (`leave` and `proof` need no admin),
 *    and no revocation, departure, proof or loss of role that counts cuts it off.
 * 3. It is not decided as long as an undecided entry might cut it off or lift its author, or gave the role that it replaces.
 * 4. When all that is left waits for each other (two admins have revoked each other while they could not hear of it),
 *    the most senior author in such a circle prevails: its first open entry counts, what would cut that off is void.
 *
 * `docs/decisions/0005-who-prevails.md` has the reasons and the outcomes.
 */
export function membersOf(genesis: Genesis, entries: Iterable<Signed>): Membership {
  return new Court(genesis, entries).judge()
}

class Court {
  readonly #genesis: Genesis
  readonly #seniority: (peer: PeerId) => number
  readonly #all: readonly Known[]
  readonly #open: Set<Known>
  readonly #standings = new Standings()
  /** Open entries that would cut off what their target wrote, and such that might make it a member or an admin. */
  readonly #attacks = new Map<PeerId, Set<Known>>()
  readonly #lifts = new Map<PeerId, Set<Known>>()
  /** Of a role, the entry that gave the one before: by the hash of the later one. */
  readonly #replaced = new Map<string, Known>()
  readonly #redeemed: Map<string, Redemption>
  readonly #refused = new Map<string, string>()

  constructor(genesis: Genesis, entries: Iterable<Signed>) {
    this.#genesis = genesis
    const all = [...entries].filter(isKnown)
    this.#all = all
    this.#redeemed = redemptionsAskedFor(all)
    const seniority = seniorityOf(genesis.founder, all)
    this.#seniority = seniority
    this.#open = new Set(
      all.sort((a, b) => seniority(a.envelope.authorId) - seniority(b.envelope.authorId) || byPlace(a, b))
    )
    const founder = { role: 'admin', admittedBy: genesis.founder, admittedAt: genesis.createdAt, name: null } as const
    this.#standings.admitted(genesis.founder, { ...founder, hash: FIRST })
    const byHash = new Map(all.map((signed) => [signed.envelope.hash, signed]))
    for (const signed of this.#open) {
      const { peer } = signed.entry
      const before = signed.entry.operation === 'role' ? byHash.get(signed.entry.replaces) : undefined
      if (before != null) this.#replaced.set(signed.envelope.hash, before)
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
    return new Judged(this.#genesis, this.#all, {
      standings: this.#standings,
      refused: this.#refused,
      redeemed: this.#redeemed
    })
  }

  /** True when the entry was decided. */
  #try(signed: Known): boolean {
    const { envelope } = signed
    const mayBeLifted = (this.#lifts.get(envelope.authorId)?.size ?? 0) > 0
    const cutOff = this.#standings.cutOff(envelope)
    if (cutOff != null) return cutOff === CUT_OFF.left && mayBeLifted ? false : this.#void(signed, cutOff)
    if (!this.#mayWrite(signed)) {
      if (mayBeLifted) return false
      const isMember = this.#standings.wasAdmitted(envelope.authorId)
      return this.#void(signed, isMember ? 'its author was no admin' : 'its author was no member')
    }
    if (this.#isAttacked(signed) || this.#waitsFor(signed) != null) return false
    return this.#count(signed)
  }

  /** The undecided entry that gave the role which this one replaces: whoever wrote this one had seen it. */
  #waitsFor({ envelope }: Known): Known | undefined {
    const before = this.#replaced.get(envelope.hash)
    return before != null && this.#open.has(before) ? before : undefined
  }

  #mayWrite({ envelope, entry }: Known): boolean {
    const role = this.#standings.roleAt(envelope)
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
    const { peer } = entry
    if (entry.operation === 'admit') {
      const { role, name, invite } = entry
      this.#standings.admitted(peer, { hash, role, name, admittedBy: authorId, admittedAt: writtenAt })
      const redemption = this.#redemptionOf(inviteKey(invite))
      if (!redemption.peers.includes(peer)) {
        this.#redeemed.set(inviteKey(invite), { ...redemption, peers: [...redemption.peers, peer] })
      }
      return true
    }
    const { cut } = entry
    if (entry.operation === 'role') {
      this.#standings.given(peer, { hash, role: entry.role, cut, replaces: entry.replaces })
      return true
    }
    const how = entry.operation === 'revoke' ? 'revoked' : entry.operation === 'leave' ? 'left' : 'proven'
    const ends = entry.operation === 'leave' ? entry.ends : []
    const incarnation = incarnationOf(envelope.actor)
    this.#standings.cut(peer, { hash, cut, how, by: authorId, at: writtenAt, incarnation, ends })
    return true
  }

  /** Why an entry does not count although its author may write it. */
  #refusal(signed: Known): string | null {
    const { entry } = signed
    if (entry.operation === 'role') {
      return this.#standings.gaveRole(entry.peer, entry.replaces) ? null : 'the role had been changed meanwhile'
    }
    if (entry.operation !== 'admit') return null
    const fault = inviteFault(signed, this.#genesis)
    if (fault != null) return fault
    const { peers } = this.#redemptionOf(inviteKey(entry.invite))
    if (!peers.includes(entry.peer) && peers.length >= entry.invite.uses) return 'its invite was used up'
    return null
  }

  #redemptionOf(key: string): Redemption {
    return this.#redeemed.get(key) ?? { peers: [], asked: 0, uses: 0 }
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
      for (const signed of list) {
        const before = this.#waitsFor(signed)
        if (before != null) add(waitsFor, author, before.envelope.authorId)
      }
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
      const could = [...(openOf.get(author) ?? [])].filter(
        (signed) => this.#mayWrite(signed) && this.#standings.cutOff(signed.envelope) == null
      )
      const first = could.find((signed) => this.#waitsFor(signed) == null) ?? could[0]
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
}

const isAttack = (entry: AuthEntry): boolean =>
  entry.operation === 'revoke' || (entry.operation === 'role' && entry.role !== 'admin')

/** What all admissions together ask of each invite; none has let anybody in yet. */
function redemptionsAskedFor(entries: readonly Known[]): Map<string, Redemption> {
  const asked = new Map<string, { peers: Set<PeerId>; uses: number }>()
  for (const { entry } of entries) {
    if (entry.operation !== 'admit') continue
    const key = inviteKey(entry.invite)
    const found = asked.get(key) ?? { peers: new Set(), uses: entry.invite.uses }
    found.peers.add(entry.peer)
    found.uses = Math.min(found.uses, entry.invite.uses)
    asked.set(key, found)
  }
  return new Map([...asked].map(([key, { peers, uses }]) => [key, { peers: [], asked: peers.size, uses }]))
}

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
