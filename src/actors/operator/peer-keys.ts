import type { PeerId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { UnavailableError } from '../../errors.ts'
import { keysToldMs, waitLookMinMs } from '../limits.ts'
import { specIn } from '../reconcile/spec.ts'
import type { ActorWindow } from './actor-window.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import type { PeerJson } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'
import { refreshReports } from './refresh.ts'
import type { Concerned } from './wait.ts'

type KeysJson = NonNullable<PeerJson['keys']>

/** Of each member: its keys as it tells them, and which ends of its services have them in force. */
export function keysOfPeers({ replica, reconciler }: Pick<OperatorDeps, 'replica' | 'reconciler'>) {
  const view = replica.view()
  const ends = new Map<PeerId, Map<PeerId, boolean>>()
  for (const service of view.services.values()) {
    const spec = specIn(view, service)
    for (const end of [service.source_peer_id, service.target_peer_id]) {
      const has = reconciler.reportOf(end, service.id)?.spec === spec
      for (const peer of [service.source_peer_id, service.target_peer_id]) {
        const seen = ends.get(peer) ?? new Map<PeerId, boolean>()
        ends.set(peer, seen.set(end, has || seen.get(end) === true))
      }
    }
  }
  return (id: PeerId): KeysJson | null => {
    const record = view.members.get(id)?.record
    if (record == null) return null
    const named = (wanted: boolean): KeysJson['awaited'] =>
      [...(ends.get(id) ?? [])]
        .filter(([, has]) => has === wanted)
        .map(([end]) => ({ id: end, name: view.members.get(end)?.name ?? end }))
    return {
      pegasus: record.pegasus_key,
      tempest: record.tempest_key,
      made_at: record.keys_made_at ?? null,
      changing: record.keys_before != null,
      in_force: named(true),
      awaited: named(false)
    }
  }
}

/** The services that a peer's keys matter to. */
export const servicesOf = (view: View, peer: PeerId): Concerned[] =>
  [...view.services.values()].filter(({ source_peer_id, target_peer_id }) =>
    [source_peer_id, target_peer_id].includes(peer)
  )

/** What the ends of a peer's services say now of its keys. */
export const refreshKeys = (deps: OperatorDeps, peer: PeerId): Promise<void> =>
  refreshReports(deps, servicesOf(deps.replica.view(), peer))

/**
 * Has a member's keys changed, this one's or by its own agent another's, and waits until its record tells the new ones.
 * ConflictError while the last change is not over, ForbiddenError for another's unless this peer is an admin.
 */
export async function rotateKeys(
  deps: OperatorDeps,
  actors: Pick<ActorWindow, 'send'>,
  peer: string,
  { by, signal }: { by: string; signal: AbortSignal }
): Promise<PeerId> {
  const { mesh, clock, replica, reconciler } = deps
  const id = resolvePeer(peer, clusterView(deps), mesh)
  const told = (): string | undefined => replica.view().members.get(id)?.record?.pegasus_key
  const before = told()
  if (id === mesh.self) {
    if (reconciler.keys == null) throw new UnavailableError('the keys of this agent are never changed')
    await reconciler.keys.rotate(`asked for by ${by}`)
  } else {
    await actors.send('keys', { type: 'keys.rotate' }, { peer: id, by, signal })
  }
  const until = clock.monotonic() + keysToldMs
  while (told() === before) {
    if (clock.monotonic() > until) {
      throw new UnavailableError(
        'the keys are changed, but the peer has not told of it yet; look again with "peers get"'
      )
    }
    await clock.sleep(waitLookMinMs, { signal })
  }
  reconciler.flush()
  return id
}
