import type { PeerId, ServiceRecord } from '../../crdt/schema.ts'
import { deadline } from '../../mesh/deadline.ts'
import { refreshParallelMax, refreshReportMs } from '../limits.ts'
import type { OperatorDeps } from './deps.ts'

/** The two ends of a service. */
export type Endpoints = Pick<ServiceRecord, 'source_peer_id' | 'target_peer_id'>

/**
 * Asks the endpoints of these services for their newest word, all within one short deadline, and evaluates. Who does not
 * answer keeps the last one.
 */
export async function refreshReports(deps: OperatorDeps, services: Iterable<Endpoints>): Promise<void> {
  const { mesh, clock, reconciler } = deps
  const endpoints = new Set<PeerId>()
  for (const service of services) endpoints.add(service.source_peer_id).add(service.target_peer_id)
  const own = endpoints.delete(mesh.self)
  const queue = [...endpoints].filter((id) => mesh.peer(id)?.reachable === true)
  using limit = deadline(clock, refreshReportMs)
  const ask = async (): Promise<void> => {
    for (let peer = queue.pop(); peer != null && !limit.signal.aborted; peer = queue.pop()) {
      try {
        await mesh.refreshReport(peer, { signal: limit.signal })
        reconciler.onAsked(peer)
      } catch (error) {
        deps.log.debug({ peer, error }, 'a peer did not answer for its services')
      }
    }
  }
  await Promise.all([
    ...Array.from({ length: Math.min(refreshParallelMax, queue.length) }, ask),
    ...(own ? [reconciler.counters.fresh()] : [])
  ])
  reconciler.flush()
}
