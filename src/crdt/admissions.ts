import type { Clock } from '../clock.ts'
import {
  ConflictError,
  ForbiddenError,
  InvalidRequestError,
  InviteInvalidError,
  InviteUsedError,
  PeerNotFoundError
} from '../errors.ts'
import { encodeAdmit, encodeLeave, encodeRevoke, encodeRole } from './authlog.ts'
import type { Cluster } from './cluster.ts'
import { checkInvite, parseInvite, ROLES } from './invite.ts'
import { inviteKey } from './membership.ts'
import type { PeerId, Role } from './schema.ts'
import { checkName, checkPeerId } from './validate.ts'
import { checkNameIsFree } from './peer-name.ts'

/**
 * The entries of the auth log that an operator asks for. Each is checked against the members as they are, and what
 * `state.ts` promises of it is what it throws; that this peer may write it has been checked before.
 */
export async function admit(
  cluster: Cluster,
  clock: Clock,
  { token, peer, name }: { token: string; peer: PeerId; name: string }
): Promise<void> {
  checkPeerId('peer', peer)
  checkName('peer', name)
  const invite = parseInvite(token)
  if (invite.clusterId !== cluster.genesis.clusterId) throw new InviteInvalidError('it is of another cluster')
  const { members, departed, redeemed } = cluster.fold.membership
  if (!members.has(invite.inviter)) throw new InviteInvalidError('the peer that made it is not a member')
  if (members.get(invite.inviter)?.role !== 'admin') {
    throw new InviteInvalidError('the peer that made it is not an admin any more')
  }
  if (members.has(peer)) return
  const departure = departed.get(peer)
  if (departure != null && departure.how !== 'left') {
    throw new ForbiddenError(
      'this peer was revoked, for good; move its state directory away, so that it starts as a new peer, and join again',
      { peer }
    )
  }
  checkInvite(invite, clock.now(), redeemed.get(inviteKey(invite))?.peers ?? [])
  checkNameIsFree(cluster.fold.view, name, peer)
  const { role, bytes } = invite
  const hash = await cluster.authorize((previous) => encodeAdmit({ previous, peer, role, name, invite: bytes }))
  if (cluster.fold.membership.refused.has(hash)) throw new InviteUsedError(invite.uses)
}

export async function revoke(cluster: Cluster, self: PeerId, peer: PeerId): Promise<void> {
  // It may still be on its way to the disk, for another call.
  if (cluster.fold.membership.departed.get(peer)?.how === 'revoked') return await cluster.stored()
  if (!cluster.ledger.isNamed(peer)) throw new PeerNotFoundError(peer, 'it was never a member')
  if (peer === self) throw new InvalidRequestError('a peer cannot revoke itself; use "arctic cluster leave"')
  await authorize(cluster, (previous) => encodeRevoke({ previous, peer, cut: cluster.ledger.cutOf(peer) }))
}

export async function setRole(cluster: Cluster, peer: PeerId, role: Role): Promise<void> {
  if (!ROLES.includes(role)) throw new InvalidRequestError('role is member or admin', { field: 'role' })
  const { membership } = cluster.fold
  const { members } = membership
  const member = members.get(peer)
  if (member == null) throw new PeerNotFoundError(peer, 'it is not a member')
  if (member.role === role) return await cluster.stored()
  if (role !== 'admin' && [...members.values()].filter((one) => one.role === 'admin').length === 1) {
    throw new ConflictError(
      409,
      'this is the only admin, and nobody could change anything without one; make another peer one first'
    )
  }
  const { roleBy: replaces } = membership.standing(peer)
  const cut = cluster.ledger.cutOf(peer)
  await authorize(cluster, (previous) => encodeRole({ previous, peer, role, replaces, cut }))
}

export async function leave(cluster: Cluster, self: PeerId): Promise<void> {
  const { membership } = cluster.fold
  const { members } = membership
  if (!members.has(self)) return
  const isLastAdmin = members.size > 1 && ![...members].some(([peer, { role }]) => peer !== self && role === 'admin')
  if (isLastAdmin) {
    throw new ConflictError(
      409,
      'this peer is the only admin, and nobody could change anything without it; make another one first with "arctic peers role PEER admin"'
    )
  }
  const { admissions: ends } = membership.standing(self)
  await authorize(cluster, (previous) => encodeLeave({ previous, ends, cut: cluster.ledger.cutOf(self) }))
}

async function authorize(cluster: Cluster, body: (previous: string) => Uint8Array): Promise<void> {
  const hash = await cluster.authorize(body)
  const reason = cluster.fold.membership.refused.get(hash)
  if (reason != null) throw new ForbiddenError(`the entry does not count: ${reason}`)
}
