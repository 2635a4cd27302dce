import type { PeerId } from '../../crdt/schema.ts'
import { waitLookMaxMs, waitLookMinMs, waitStragglersMax } from '../limits.ts'
import { sameHeads } from '../reconcile/synced.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import type { WaitJson } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'

/**
 * Waits until every member that can be reached has taken in what was just written of a peer: its exclusion, when it is no
 * member any more, or all that this peer holds; with null, of whatever else. Members say so themselves, by the heads that
 * they announce.
 */
export async function waitForMembers(
  deps: OperatorDeps,
  peer: string | null,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }
): Promise<WaitJson> {
  const { clock, mesh, reconciler } = deps
  const begun = clock.monotonic()
  const spent = (): number => clock.monotonic() - begun
  const about = peer == null ? mesh.self : resolvePeer(peer, clusterView(deps), mesh)
  const knowing = new Set<PeerId>([mesh.self])
  for (let pauseMs = waitLookMinMs; ; pauseMs = Math.min(2 * pauseMs, waitLookMaxMs)) {
    const view = clusterView(deps)
    const isGone = view.departed?.has(about) === true
    const others = [...view.members.values()].filter(({ id }) => id !== mesh.self)
    for (const { id } of others) {
      const knows = isGone
        ? reconciler.exclusions.confirmedBy(about).has(id)
        : sameHeads(mesh.peer(id)?.heads ?? null, view.heads)
      if (knows) knowing.add(id)
    }
    const open = others.filter(({ id }) => !knowing.has(id))
    const late = open.filter(({ id }) => reconciler.reach(id) !== 'unreachable')
    if (late.length === 0 || spent() >= timeoutMs) {
      return {
        done: late.length === 0,
        waited_ms: Math.round(spent()),
        stragglers: late.slice(0, waitStragglersMax).map(({ id, name }) => ({
          peer: id,
          name,
          service_id: null,
          reason: 'NotConfirmed',
          message: `${name} has not said that it knows`
        })),
        more: Math.max(0, late.length - waitStragglersMax),
        unreachable: open.filter((one) => !late.includes(one)).map(({ id, name }) => ({ peer: id, name }))
      }
    }
    await clock.sleep(Math.max(1, Math.min(pauseMs, timeoutMs - spent())), { signal })
  }
}
