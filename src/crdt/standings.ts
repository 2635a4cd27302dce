import { FIRST, incarnationOf, type Cut } from './authlog.ts'
import type { PeerId, Role } from './schema.ts'

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

/** Of a change or an entry: who wrote it, its place among what that author wrote, and what it takes. */
export interface Written {
  authorId: PeerId
  actor: string
  seq: number
  needsAdmin: boolean
}

type Place = Pick<Written, 'authorId' | 'actor' | 'seq'>

/** What counts about one peer, each in the order in which it was decided. */
interface Standing {
  admissions: ReadonlyArray<Admission & { hash: string }>
  /** Admissions that a departure ended. */
  ends: readonly string[]
  roles: readonly Given[]
  cuts: readonly Cutting[]
}

/** `of`: the admission whose role it changed. Who leaves and is let in again has the role of that, and of none before. */
interface Given {
  hash: string
  role: Role
  cut: Cut
  of: string
}

interface Cutting {
  hash: string
  cut: Cut
  how: Departure['how']
  by: PeerId
  at: number
  incarnation: number
  ends: readonly string[]
}

/** Most peers were let in once, and that is all there is about them. */
const NOTHING: Standing = { admissions: [], ends: [], roles: [], cuts: [] }

export const isBeyond = (cut: Cut, { actor, seq }: { actor: string; seq: number }): boolean =>
  seq > (cut.get(actor) ?? 0)

/**
 * What counts about each peer, and what follows from it for what that peer has written. Whatever is asked about a peer
 * depends on its own standing alone.
 */
export class Standings {
  readonly #of = new Map<PeerId, Standing>()

  /** All about whom anything counts. */
  peers(): Iterable<PeerId> {
    return this.#of.keys()
  }

  admitted(peer: PeerId, admission: Admission & { hash: string }): void {
    const standing = this.#get(peer)
    this.#of.set(peer, { ...standing, admissions: [...standing.admissions, admission] })
  }

  /** `replaces`: the entry that gave the role before. */
  given(peer: PeerId, { replaces, ...role }: Omit<Given, 'of'> & { replaces: string }): void {
    const standing = this.#get(peer)
    const of = admissionBehind(standing.roles, replaces)
    this.#of.set(peer, { ...standing, roles: [...standing.roles, { ...role, of }] })
  }

  cut(peer: PeerId, cutting: Cutting): void {
    const standing = this.#get(peer)
    const ends = [...new Set([...standing.ends, ...cutting.ends])]
    this.#of.set(peer, { ...standing, ends, cuts: [...standing.cuts, cutting] })
  }

  /** True when some admission of the peer counts, ended or not. */
  wasAdmitted(peer: PeerId): boolean {
    return this.#get(peer).admissions.length > 0
  }

  /** Why a counting entry cuts off what was written; null when none does. */
  cutOff(written: Place): string | null {
    const { admissions, cuts } = this.#get(written.authorId)
    for (const { cut, how, incarnation, ends } of cuts) {
      if (!isBeyond(cut, written)) continue
      // Who left and was let in again writes under a later start of its agent.
      const isLater = how === 'left' && incarnationOf(written.actor) > incarnation
      if (!isLater || admissions.every(({ hash }) => ends.includes(hash))) return CUT_OFF[how]
    }
    return null
  }

  /** Null for somebody who was never admitted. */
  roleAt(written: Place): Role | null {
    const { admissions, roles, cuts } = this.#get(written.authorId)
    const now = cuts.length === 0 ? 0 : incarnationOf(written.actor)
    const ended = new Set(cuts.flatMap(({ incarnation, ends }) => (incarnation < now ? ends : [])))
    const admission = admissions.find(({ hash }) => !ended.has(hash)) ?? admissions[0]
    if (admission == null) return null
    let { role } = admission
    for (const change of rolesOf(roles, admission.hash)) if (isBeyond(change.cut, written)) role = change.role
    return role
  }

  /** Why what was written does not count; null when it does. */
  fault(written: Written): string | null {
    const cutOff = this.cutOff(written)
    if (cutOff != null) return cutOff
    const role = this.roleAt(written)
    if (role == null) return 'its author is not a member'
    if (written.needsAdmin && role !== 'admin') {
      return `its author was a ${role}, who may change its own peer record only`
    }
    return null
  }

  /** The entry that gave a peer its present role, and the admissions that make it a member. */
  present(peer: PeerId): { roleBy: string; admissions: string[] } {
    const { admissions, ends, roles } = this.#get(peer)
    const standing = admissions.filter(({ hash }) => !ends.includes(hash)).map(({ hash }) => hash)
    const first = standing[0] ?? FIRST
    return { roleBy: rolesOf(roles, first).at(-1)?.hash ?? first, admissions: standing }
  }

  /**
   * True when that entry gave the role that an admission of the peer has now. Whether the admission was ended has no part in
   * it: who left may have written by that role before, and who was let in again may have left by an entry that is judged later.
   */
  gaveRole(peer: PeerId, hash: string): boolean {
    const { admissions, roles } = this.#get(peer)
    const of = admissionBehind(roles, hash)
    return admissions.some((admission) => admission.hash === of) && (rolesOf(roles, of).at(-1)?.hash ?? of) === hash
  }

  /** What a peer is in the end: a member, one no more, or neither. */
  outcome(peer: PeerId): { member: Admission | null; departed: Departure | null } {
    const { admissions, ends, roles, cuts } = this.#get(peer)
    const admission = admissions.find(({ hash }) => !ends.includes(hash))
    const out = cuts.find(({ how }) => how !== 'left') ?? (admission == null ? cuts.at(-1) : undefined)
    const name = (admission ?? admissions.at(-1))?.name ?? null
    if (out != null) return { member: null, departed: { how: out.how, by: out.by, at: out.at, name } }
    if (admission == null) return { member: null, departed: null }
    const role = rolesOf(roles, admission.hash).at(-1)?.role
    return { member: role == null ? admission : { ...admission, role }, departed: null }
  }

  /** Equal for two that judge alike whatever the peer writes. */
  digestOf(peer: PeerId): string {
    const { admissions, ends, roles, cuts } = this.#get(peer)
    const hashes = (list: ReadonlyArray<{ hash: string }>): string => list.map(({ hash }) => hash).join()
    return [hashes(admissions), ends.join(), hashes(roles), hashes(cuts)].join('|')
  }

  #get(peer: PeerId): Standing {
    return this.#of.get(peer) ?? NOTHING
  }
}

const rolesOf = (roles: readonly Given[], admission: string): Given[] => roles.filter(({ of }) => of === admission)

/** The admission itself, or the one whose role the entry changed. */
const admissionBehind = (roles: readonly Given[], hash: string): string =>
  roles.find((role) => role.hash === hash)?.of ?? hash

export const CUT_OFF: Record<Departure['how'], string> = {
  revoked: 'its author was revoked before it',
  left: 'its author had left before it',
  proven: 'its author signed two things as one and is revoked for it'
}
