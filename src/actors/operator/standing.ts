import type { Role } from '../../crdt/schema.ts'
import type { DepartedMember, View } from '../../crdt/view.ts'
import { RevokedError } from '../../errors.ts'
import type { OperatorDeps } from './deps.ts'
import type { ClusterJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'

/** RevokedError with the way out for a peer that was thrown out; who never was a member is told by the replica. */
export function refuseRevoked({ replica, mesh }: Pick<OperatorDeps, 'replica' | 'mesh'>): void {
  const view = replica.view()
  const departure = view.departed?.get(mesh.self)
  if (departure != null && departure.how !== 'left') throw revoked(view, departure)
}

/** What this peer is in its cluster: its role, or null and in `notice` how that came and what to do. */
export function standingOf({ replica, mesh }: Pick<OperatorDeps, 'replica' | 'mesh'>): {
  role: Role | null
  notice: string | null
} {
  const view = replica.view()
  const member = view.members.get(mesh.self)
  if (view.cluster == null || member != null) return { role: member?.role ?? null, notice: null }
  const departure = view.departed?.get(mesh.self)
  if (departure == null) {
    return {
      role: null,
      notice:
        'the admission of this peer does not count, since its invite was used up elsewhere at the same time; ' +
        'run "arctic cluster leave" and join by another invite'
    }
  }
  if (departure.how === 'left') {
    return {
      role: null,
      notice: 'this peer has left the cluster and not forgotten it; run "arctic cluster leave" again'
    }
  }
  const { message } = revoked(view, departure)
  return { role: null, notice: message }
}

const revoked = (view: View, { how, by, at }: DepartedMember): RevokedError =>
  new RevokedError({
    cluster: view.cluster?.name ?? '',
    by: nameOfPeer(by, view) ?? by,
    at,
    how: how === 'proven' ? how : 'revoked'
  })

/** Who was a member once, the latest first. */
export const departedJson = (view: View): ClusterJson['departed'] =>
  [...(view.departed?.values() ?? [])]
    .map(({ id, name, how, by, at }) => ({ id, name, how, by, by_name: nameOfPeer(by, view), at }))
    .sort((a, b) => (a.at > b.at ? -1 : 1))
