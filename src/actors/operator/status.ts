import { clusterView, type OperatorDeps } from './deps.ts'
import { historyWarnings } from './behind.ts'
import { copiedIdentities } from './copied.ts'
import { licenseJson } from './license.ts'
import type { StatusJson } from './operator.ts'
import { standingOf } from './standing.ts'
import { refreshReports } from './refresh.ts'
import { NotInClusterError } from '../../errors.ts'

/** In a cluster, synced once, data planes up; else every reason why not. */
export function readiness(deps: OperatorDeps): { ready: boolean; reasons: string[] } {
  const { dataplane, reconciler } = deps
  const reasons: string[] = []
  try {
    clusterView(deps)
    const { notice } = standingOf(deps)
    if (notice != null) reasons.push(notice)
    else if (!reconciler.synced.yes) reasons.push('not synced with any member since the start')
  } catch (error) {
    if (!(error instanceof NotInClusterError)) throw error
    reasons.push('in no cluster yet')
  }
  if (dataplane.mode === 'kernel') {
    for (const { engine, state } of dataplane.engines()) if (state !== 'ready') reasons.push(`${engine} is ${state}`)
    const failure = reconciler.applied?.failure
    if (failure != null) reasons.push(`data plane: ${failure.message}`)
    else if (reconciler.applied == null) reasons.push('the data plane has not been programmed yet')
  }
  return { ready: reasons.length === 0, reasons }
}

/** One screen of health. */
export async function agentStatus(deps: OperatorDeps): Promise<StatusJson> {
  await refreshReports(deps, deps.replica.view().services.values())
  const { replica, mesh, dataplane, reconciler, clock } = deps
  const view = replica.view()
  const phases = { active: 0, pending: 0, degraded: 0, deleting: 0 }
  for (const { phase } of reconciler.statuses.all().values()) phases[phase]++
  const reachable = [...view.members.keys()].filter((id) => reconciler.reach(id) === 'reachable').length
  const damage = replica.damage()
  const license = licenseJson(deps)
  const { ready, reasons } = readiness(deps)
  return {
    peer: {
      id: mesh.self,
      name: view.members.get(mesh.self)?.name ?? deps.selfRecord().name,
      version: deps.version,
      state_dir: deps.stateDir,
      uptime_seconds: Math.floor((clock.monotonic() - deps.startedAt) / 1000)
    },
    cluster:
      view.cluster == null ? null : { ...view.cluster, members: view.members.size, reachable, ...standingOf(deps) },
    dataplane: {
      mode: dataplane.mode,
      failure: reconciler.applied?.failure ?? null,
      engines: dataplane.engines().map(({ engine, state, pid, version, restarts, draining }) => ({
        engine,
        state,
        pid,
        version,
        restarts,
        draining
      }))
    },
    services: {
      total: view.services.size,
      active: phases.active,
      pending: phases.pending,
      degraded: phases.degraded
    },
    listen: deps.listen(),
    license: { edition: license.edition, problem: license.problem },
    ready,
    reasons: [
      ...reasons,
      ...historyWarnings(deps),
      ...(damage == null ? [] : [`the replicated state was damaged: ${damage.message}`]),
      ...copiedIdentities(deps).map(({ message }) => message)
    ]
  }
}
