import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import { waitLookMaxMs, waitLookMinMs, waitStragglersMax } from '../limits.ts'
import { sameHeads } from '../reconcile/synced.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import type { StragglerJson, WaitJson } from './operator.ts'
import { refreshReports, type Endpoints } from './refresh.ts'

/** A service and its ends, as who changed it knows them: of a deleted one no view tells any more. */
export type Concerned = Endpoints & { id: ServiceId }

interface Open {
  service: Concerned
  /** Ends that said something of the service once, so that their silence means that it is gone there. */
  spoke: Set<PeerId>
}

/**
 * Waits until all these services are in force as the view has them, or gone where they are deleted, in kernel and
 * engines of each end that can be reached; and says who is not there yet when the time is up. What was written stays
 * written, whatever comes of it.
 *
 * 1. An end is done when it reports the very wish of the newest view, or nothing any more of a deleted service.
 * 2. Who cannot be reached is not waited for, and named.
 * 3. It is looked again when anything was heard; an end that says nothing by itself is asked, first soon and then less often.
 */
export async function waitFor(
  deps: OperatorDeps,
  services: readonly Concerned[],
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }
): Promise<WaitJson> {
  const { clock } = deps
  const begun = clock.monotonic()
  const spent = (): number => clock.monotonic() - begun
  /** Ends of services that are done but for these, by peer. */
  const skipped = new Map<PeerId, string>()
  let open: Open[] = services.map((service) => ({ service, spoke: new Set<PeerId>() }))
  // What was just written is part of what is looked at.
  deps.reconciler.flush()
  // Ends that tell each change by themselves are asked only when they have been silent for long.
  let pauseMs = services.every((service) => ends(service).every(deps.reconciler.isTold)) ? waitLookMaxMs : waitLookMinMs
  let askAt = begun + pauseMs
  for (;;) {
    const late = new Map<Open, StragglerJson[]>()
    const away = new Map<PeerId, string>()
    for (const one of open) {
      listen(deps, one.service, one.spoke)
      const silent = new Map<PeerId, string>()
      const found = ends(one.service).flatMap((peer) => straggler(deps, one, peer, silent) ?? [])
      if (found.length > 0) late.set(one, found)
      for (const [peer, name] of silent) (found.length > 0 ? away : skipped).set(peer, name)
    }
    const stragglers = [...late.values()].flat()
    // An agent without a data plane gets none while it runs.
    const hopeless = stragglers.every(({ reason }) => reason === 'DataplaneDisabled')
    if (hopeless || spent() >= timeoutMs) {
      return {
        done: stragglers.length === 0,
        waited_ms: Math.round(spent()),
        stragglers: stragglers.slice(0, waitStragglersMax),
        more: Math.max(0, stragglers.length - waitStragglersMax),
        unreachable: [...new Map([...skipped, ...away])].map(([peer, name]) => ({ peer, name }))
      }
    }
    open = [...late.keys()]
    const until = Math.min(askAt, begun + timeoutMs)
    if (await hears(deps, Math.max(1, until - clock.monotonic()), signal)) continue
    pauseMs = Math.min(2 * pauseMs, waitLookMaxMs)
    askAt = clock.monotonic() + pauseMs
    for (const { service, spoke } of open) listen(deps, service, spoke)
    await refreshReports(
      deps,
      open.map(({ service }) => service)
    )
    signal.throwIfAborted()
  }
}

/** True as soon as this peer has evaluated anything new; false when it has not within `ms`. */
async function hears({ reconciler, clock }: OperatorDeps, ms: number, signal: AbortSignal): Promise<boolean> {
  const heard = new AbortController()
  const release = reconciler.onEvaluated(() => heard.abort())
  try {
    await clock.sleep(ms, { signal: AbortSignal.any([signal, heard.signal]) })
    return false
  } catch (error) {
    signal.throwIfAborted()
    if (!heard.signal.aborted) throw error
    return true
  } finally {
    release()
  }
}

const ends = ({ source_peer_id: source, target_peer_id: target }: Endpoints): PeerId[] => [source, target]

function listen({ reconciler }: OperatorDeps, service: Concerned, spoke: Set<PeerId>): void {
  for (const peer of ends(service)) if (reconciler.reportOf(peer, service.id) != null) spoke.add(peer)
}

/** Why an end is still waited for; null when it is not. */
function straggler(
  deps: OperatorDeps,
  { service, spoke }: Open,
  peer: PeerId,
  unreachable: Map<PeerId, string>
): StragglerJson | null {
  const { reconciler, mesh } = deps
  const view = clusterView(deps)
  const name = view.members.get(peer)?.name ?? peer
  if (reconciler.reach(peer) === 'unreachable') {
    unreachable.set(peer, name)
    return null
  }
  const late = (reason: string, message: string): StragglerJson => ({
    peer,
    name,
    service_id: service.id,
    reason,
    message
  })
  if (!view.services.has(service.id)) {
    if (reconciler.reportOf(peer, service.id) != null) return late('Removing', `${name} has not removed it yet`)
    // Silence of one that never spoke of it may mean that it has not heard of it; who holds the same state has.
    const knows = peer === mesh.self || spoke.has(peer) || sameHeads(mesh.peer(peer)?.heads ?? null, view.heads)
    return knows ? null : late('Removing', `${name} has not said that it knows of the deletion yet`)
  }
  const type = peer === service.source_peer_id ? 'SourceProgrammed' : 'TargetProgrammed'
  const condition = reconciler.statuses.get(service.id)?.conditions.find((one) => one.type === type)
  // That its target is away does not keep the source from programming.
  if (condition?.status === true || condition?.reason === 'TargetUnreachable') return null
  return late(condition?.reason ?? 'Programming', condition?.message ?? `${name} has not reported it yet`)
}
