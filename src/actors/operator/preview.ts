import type { PeerId } from '../../crdt/schema.ts'
import type { RulePreview } from '../../dataplane/preview.ts'
import { ArcticError, UnavailableError } from '../../errors.ts'
import { desiredFor } from '../reconcile/desired.ts'
import { asPreview } from './actor-answers.ts'
import type { OperatorDeps } from './deps.ts'
import { asDraft, drafted, type Draft } from './draft.ts'
import type { PeerRulesJson } from './operator.ts'

type PreviewDeps = Pick<OperatorDeps, 'replica' | 'dataplane' | 'reconciler'> & {
  mesh: Pick<OperatorDeps['mesh'], 'self'> & { actors: Pick<OperatorDeps['mesh']['actors'], 'ask'> }
}

/** What other members ask with {@link PREVIEW}. */
export const PREVIEW = 'preview'

/**
 * What a draft would change in the rules of every peer that is an end of what it touches: this host looks at its own, each
 * other peer is asked for its own, since only it knows its interfaces. One that does not answer is told with the reason.
 */
export async function previewRules(deps: PreviewDeps, draft: Draft): Promise<PeerRulesJson[]> {
  const view = deps.replica.view()
  const next = drafted(view, draft)
  const touched = new Set([
    ...draft.services.map(({ id }) => id),
    ...draft.gone.services,
    ...draft.routes.map(({ service_id }) => service_id),
    ...draft.gone.routes.flatMap((id) => view.routes.get(id)?.service_id ?? [])
  ])
  const ends = [...touched].flatMap((id) => {
    const services = [view.services.get(id), next.services.get(id)].filter((service) => service != null)
    return services.flatMap(({ source_peer_id, target_peer_id }) => [source_peer_id, target_peer_id])
  })
  const peers = [...new Set(ends)].filter((id) => view.members.has(id)).toSorted()
  return Promise.all(
    peers.map(async (id): Promise<PeerRulesJson> => {
      const peer = { peer_id: id, name: view.members.get(id)?.name ?? null }
      try {
        return { ...peer, ...(await rulesAt(deps, id, draft)), problem: null }
      } catch (error) {
        if (!(error instanceof ArcticError)) throw error
        return { ...peer, added: [], removed: [], more: 0, problem: error.message }
      }
    })
  )
}

async function rulesAt(deps: PreviewDeps, peer: PeerId, draft: Draft): Promise<RulePreview> {
  const { mesh, reconciler } = deps
  if (peer === mesh.self) return ownPreview(deps, draft)
  if (reconciler.reach(peer) === 'unreachable') throw new UnavailableError('it cannot be reached now')
  return asPreview(await mesh.actors.ask(peer, { what: PREVIEW, path: null, of: draft }))
}

/** For another member. */
export function servedPreview(deps: PreviewDeps, draft: unknown): RulePreview {
  return ownPreview(deps, asDraft(draft, deps.replica.view()))
}

function ownPreview({ replica, mesh, dataplane }: PreviewDeps, draft: Draft): RulePreview {
  const preview = dataplane.preview?.(desiredFor(mesh.self, drafted(replica.view(), draft)))
  if (preview != null) return preview
  throw new UnavailableError(
    dataplane.mode === 'none'
      ? 'it runs with --dataplane none and has no rules'
      : 'it has not programmed anything yet; try again in a moment'
  )
}
