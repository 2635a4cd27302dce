import { isoTime } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { FlowLog } from '../flow-log.ts'
import { activityActorsMax, activityFlowServicesMax, activityFlowsMax, activityServicesMax } from '../limits.ts'
import { kindOf } from '../runtime/address.ts'
import type { TransitionJson } from './actor-json.ts'
import { transitionJson } from './actors.ts'
import type { OperatorDeps } from './deps.ts'
import type { ActorJson, ServiceJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'

/** What is going on at one agent, as `arctic top` shows it; counters are totals since the engines started. */
export interface ActivityJson {
  at: string
  peer_id: PeerId
  peer_name: string | null
  uptime_seconds: number
  /** Services that this host is an endpoint of, the busiest first. */
  services: ServiceActivityJson[]
  /** More services than `services` holds. */
  services_left_out: number
  tunnels: TunnelActivityJson[]
  /** Open TCP flows of the services that have most of them, then those that ended last, newest first. */
  flows: FlowActivityJson[]
  actors: {
    total: number
    /** How many there are of each kind and state. */
    kinds: Array<{ kind: string; state: string | null; count: number }>
    /** The last step of those that moved last, newest first. */
    latest: TransitionJson[]
  }
}

export interface ServiceActivityJson {
  id: ServiceId
  name: string | null
  role: 'source' | 'target'
  /** The other end. */
  peer_id: PeerId | null
  peer_name: string | null
  phase: ServiceJson['status']['phase']
  flows: number
  bytes_in: number
  bytes_out: number
}

export interface TunnelActivityJson {
  peer_id: PeerId
  peer_name: string | null
  device: string
  endpoint: string | null
  handshake_at: string | null
  bytes_in: number
  bytes_out: number
}

export interface FlowActivityJson {
  /** When it ended; of an open one, when it began. */
  at: string
  service_id: ServiceId
  service_name: string | null
  side: 'source' | 'target'
  client: string
  destination: string
  bytes_in: number
  bytes_out: number
  duration_ms: number
  /** Why it ended; `open` as long as it has not. */
  reason: string
}

type ActivityDeps = Pick<
  OperatorDeps,
  'replica' | 'mesh' | 'dataplane' | 'reconciler' | 'recorder' | 'clock' | 'startedAt'
>

export async function activityOf(deps: ActivityDeps, tree: () => ActorJson): Promise<ActivityJson> {
  const { replica, mesh, reconciler, recorder, clock, startedAt } = deps
  await reconciler.counters.fresh()
  const view = replica.view()
  const services = [...reconciler.reports.all()].map((report): ServiceActivityJson => {
    const { service_id: id, role, flows, bytes_in, bytes_out } = report
    const service = view.services.get(id)
    const other = (role === 'source' ? service?.target_peer_id : service?.source_peer_id) ?? null
    const phase = reconciler.statuses.get(id)?.phase ?? 'deleting'
    const peer_name = other == null ? null : nameOfPeer(other, view)
    return { id, name: service?.name ?? null, role, peer_id: other, peer_name, phase, flows, bytes_in, bytes_out }
  })
  const bytes = ({ bytes_in, bytes_out }: ServiceActivityJson): number => bytes_in + bytes_out
  services.sort((a, b) => b.flows - a.flows || bytes(b) - bytes(a) || (a.id < b.id ? -1 : 1))
  return {
    at: isoTime(clock.now()),
    peer_id: mesh.self,
    peer_name: nameOfPeer(mesh.self, view),
    uptime_seconds: Math.floor((clock.monotonic() - startedAt) / 1000),
    services: services.slice(0, activityServicesMax),
    services_left_out: Math.max(0, services.length - activityServicesMax),
    tunnels: reconciler.counters.tunnels.map((tunnel) => ({
      peer_id: tunnel.peer,
      peer_name: nameOfPeer(tunnel.peer, view),
      device: tunnel.device,
      endpoint: tunnel.endpoint,
      handshake_at: tunnel.handshakeAt == null ? null : isoTime(tunnel.handshakeAt),
      bytes_in: tunnel.bytesIn,
      bytes_out: tunnel.bytesOut
    })),
    flows: [...(await openFlows(deps, services)), ...reconciler.flows.latest().map((flow) => endedFlow(flow, view))],
    actors: { ...census(tree()), latest: recorder.latest(activityActorsMax).map(transitionJson) }
  }
}

/** A data plane that cannot be asked right now has none to show; the services' counts are there all the same. */
async function openFlows(
  { dataplane, clock }: ActivityDeps,
  services: readonly ServiceActivityJson[]
): Promise<FlowActivityJson[]> {
  const busiest = services.filter(({ flows }) => flows > 0).slice(0, activityFlowServicesMax)
  const now = clock.now()
  const found = await Promise.all(
    busiest.map(async ({ id, name }) => {
      const open = await dataplane.flows(id, { sort: 'bytes', limit: activityFlowsMax }).catch(() => [])
      return open.map((flow) => ({
        at: isoTime(now - flow.ageMs),
        service_id: id,
        service_name: name,
        side: flow.side,
        client: flow.client,
        destination: flow.destination,
        bytes_in: flow.bytesIn,
        bytes_out: flow.bytesOut,
        duration_ms: flow.ageMs,
        reason: 'open'
      }))
    })
  )
  return found.flat()
}

const endedFlow = (flow: ReturnType<FlowLog['latest']>[number], view: View): FlowActivityJson => ({
  at: isoTime(flow.at),
  service_id: flow.serviceId,
  service_name: view.services.get(flow.serviceId)?.name ?? null,
  side: flow.side,
  client: flow.client,
  destination: flow.destination,
  bytes_in: flow.bytesIn,
  bytes_out: flow.bytesOut,
  duration_ms: flow.durationMs,
  reason: flow.reason
})

function census(tree: ActorJson): Pick<ActivityJson['actors'], 'total' | 'kinds'> {
  const counts = new Map<string, ActivityJson['actors']['kinds'][number]>()
  const waiting = [tree]
  for (const { path, state, children } of waiting) {
    const kind = kindOf(path)
    const key = `${kind} ${state}`
    const held = counts.get(key)
    if (held == null) counts.set(key, { kind, state, count: 1 })
    else held.count++
    for (const child of children) waiting.push(child)
  }
  const kinds = [...counts.values()].sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1))
  return { total: waiting.length, kinds }
}
