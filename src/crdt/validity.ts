import type { AuthEntry } from './authlog.ts'
import type { Envelope } from './envelope.ts'
import type { Genesis } from './genesis.ts'
import type { Invite } from './invite.ts'
import type { PeerId, Role } from './schema.ts'

/**
 * Who is a member, as a pure function of the set of auth entries: the order in which they arrived has no part in it.
 *
 * 1. The founder is a member.
 * 2. Of all entries whose author and whose invite's maker are members by now, the first by (written-at, hash) is taken;
 *    it counts when its invite is of this cluster, was not expired when the entry was written, names the role, has a
 *    use left, and the peer is no member yet. Then 2 again, until nothing is left to take.
 *
 * So when two sides of a partition redeem the last use of one invite, the admission that was written first stands on
 * both once they meet, and the other peer is out again, with all that it wrote.
 */
export function membersOf(genesis: Genesis, entries: Iterable<Signed>): Membership {
  const members = new Map<PeerId, Admission>()
  members.set(genesis.founder, {
    role: 'admin',
    admittedBy: genesis.founder,
    admittedAt: genesis.createdAt,
    name: null
  })
  const redeemed = new Map<string, PeerId[]>()
  const refused = new Map<string, string>()
  let open = [...entries].sort(byTimeAndHash)
  for (;;) {
    const index = open.findIndex(
      ({ envelope, entry }) => members.has(envelope.authorId) && members.has(entry.invite.inviter)
    )
    const taken = open[index]
    if (taken == null) break
    open = open.toSpliced(index, 1)
    const reason = refusal(genesis, taken, members, redeemed)
    if (reason != null) {
      refused.set(taken.envelope.hash, reason)
      continue
    }
    const { envelope, entry } = taken
    members.set(entry.peer, {
      role: entry.role,
      admittedBy: envelope.authorId,
      admittedAt: envelope.writtenAt,
      name: entry.name
    })
    const key = inviteKey(entry.invite)
    redeemed.set(key, [...(redeemed.get(key) ?? []), entry.peer])
  }
  for (const { envelope } of open) refused.set(envelope.hash, 'its author or the maker of its invite is not a member')
  return { members, redeemed, refused }
}

export interface Signed {
  envelope: Pick<Envelope, 'authorId' | 'writtenAt' | 'hash'>
  entry: AuthEntry
}

export interface Admission {
  role: Role
  admittedBy: PeerId
  /** Wall-clock ms by the admitting peer's clock. */
  admittedAt: number
  /** The name that it asked for; null for the founder. */
  name: string | null
}

export interface Membership {
  members: ReadonlyMap<PeerId, Admission>
  /** Peers admitted by each invite, see {@link inviteKey}. */
  redeemed: ReadonlyMap<string, readonly PeerId[]>
  /** Entries that do not count: hash → why. */
  refused: ReadonlyMap<string, string>
}

/** Ids are chosen by who makes an invite; another member reusing one must not use it up. */
export const inviteKey = ({ inviter, id }: Pick<Invite, 'inviter' | 'id'>): string => `${inviter}/${id}`

function refusal(
  genesis: Genesis,
  { envelope, entry }: Signed,
  members: ReadonlyMap<PeerId, Admission>,
  redeemed: ReadonlyMap<string, readonly PeerId[]>
): string | null {
  const { invite } = entry
  if (invite.clusterId !== genesis.clusterId) return 'its invite is of another cluster'
  if (entry.role !== invite.role) return `its invite is for role ${invite.role}`
  if (members.has(entry.peer)) return 'the peer was a member already'
  if (envelope.writtenAt >= invite.expiresAt) return 'its invite had expired'
  if ((redeemed.get(inviteKey(invite))?.length ?? 0) >= invite.uses) return 'its invite was used up'
  return null
}

function byTimeAndHash(a: Signed, b: Signed): number {
  return a.envelope.writtenAt - b.envelope.writtenAt || (a.envelope.hash < b.envelope.hash ? -1 : 1)
}
