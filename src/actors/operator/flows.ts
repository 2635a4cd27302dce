import type { FlowsQuery, OpenFlow } from '../../dataplane/desired.ts'
import { InvalidRequestError } from '../../errors.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { findService } from './service-ref.ts'

/** One open TCP flow as the answering peer sees it. */
export interface FlowJson {
  side: OpenFlow['side']
  peer_id: string
  client: string
  destination: string
  dialled_from: string | null
  state: OpenFlow['state']
  bytes_in: number
  bytes_out: number
  age_ms: number
  connect_ms: number | null
  first_byte_ms: number | null
}

/** The open flows of a service, at an end of it: only there somebody sees them. */
export async function listFlows(deps: OperatorDeps, id: string, query: FlowsQuery): Promise<FlowJson[]> {
  const view = clusterView(deps)
  const service = findService(id, view)
  const ends = [service.source_peer_id, service.target_peer_id]
  if (!ends.includes(deps.mesh.self)) {
    const names = ends.map((peer) => view.members.get(peer)?.name ?? peer)
    throw new InvalidRequestError(
      `this peer is no end of service ${service.id}, so it sees none of its flows; ask ${names.join(' or ')}`,
      { source_peer_id: service.source_peer_id, target_peer_id: service.target_peer_id }
    )
  }
  const flows = await deps.dataplane.flows(service.id, query)
  return flows.map((flow) => ({
    side: flow.side,
    peer_id: flow.peer,
    client: flow.client,
    destination: flow.destination,
    dialled_from: flow.dialledFrom,
    state: flow.state,
    bytes_in: flow.bytesIn,
    bytes_out: flow.bytesOut,
    age_ms: flow.ageMs,
    connect_ms: flow.connectMs,
    first_byte_ms: flow.firstByteMs
  }))
}
