import type { PeerId, RouteId, ServiceId, TransportType } from '../crdt/schema.ts'
import type {
  DesiredState,
  FlowRecord,
  FlowsQuery,
  HostKeys,
  InboundService,
  OpenFlow,
  OutboundService
} from './desired.ts'
import type { EngineEvent } from './engine-protocol.ts'
import { MappedList } from './mapped-list.ts'
import { once } from '../once.ts'
import { peerKeys, type PeerKeys } from './peer-keys.ts'
import { formatPrefix } from './prefix.ts'
import type { Route } from './route.ts'
import type { RouteTable } from './route-table.ts'

/** The state Pegasus is told (engines/PROTOCOL.md, "Pegasus state"). */
export interface PegasusState {
  data_listen: string
  self: PeerId
  bypass_mark: number
  peers: ({ peer_id: PeerId; addresses: string[] } & PeerKeys)[]
  listeners: PegasusListener[]
  outbound: readonly PegasusService[]
  inbound: readonly (PegasusService & { routes: { source: string | null; dest: string | null }[]; any?: true })[]
  /** Not said when it is on, so that an engine which does not know it can be told everything else. */
  kcp_congestion_control?: false
}

export type PegasusListener = { name: string; port: number } & (
  | { service_id: ServiceId }
  | {
      table: {
        attached: string[]
        routes: readonly { service_id: ServiceId; route_id: RouteId; source: string | null; dest: string | null }[]
      }
    }
)

interface PegasusService {
  service_id: ServiceId
  peer_id: PeerId
  transport: TransportType
  bandwidth_mbps: number
  transparent: boolean
}

/** A client as which a destination was dialled in vain, though it answers the host itself. */
export interface LostReturnPath {
  client: string
  destination: string
}

export interface PegasusStats {
  services: {
    service_id: ServiceId
    side: 'source' | 'target'
    flows: number
    flows_total: number
    bytes_in: number
    bytes_out: number
    /** Whose answers were last seen to take another way than through this host; null: nobody's. */
    return_path_lost: LostReturnPath | null
  }[]
  peers: {
    peer_id: PeerId
    transport: TransportType
    state: string
    carriers_idle: number
    carriers_busy: number
    address: string | null
    error: string | null
  }[]
  refused_total: number
  events_dropped: number
  rss_bytes: number
}

/** Name of the listener of all services without a device of their own. */
export const GENERAL_LISTENER = 'general'

export interface PegasusContext {
  dataListen: string
  bypassMark: number
  kcpCongestionControl: boolean
  table: RouteTable
  /** Devices by the service that owns them. */
  devices: ReadonlyMap<ServiceId, string>
  /** Ports known from before, by listener name: a wish. */
  ports: ReadonlyMap<string, number>
  keys: Pick<HostKeys, 'before' | 'known'>
  /** Of this host. */
  memory?: PegasusMemory
}

/** What was said of services and routes before, to be said anew only of others. */
export class PegasusMemory {
  readonly routes = new MappedList((route: Route) => tableRoute(route))
  readonly outbound = new MappedList((service: OutboundService) => outboundState(service))
  readonly inbound = new MappedList((service: InboundService) => inboundState(service))
}

export function pegasusState(desired: DesiredState, context: PegasusContext): PegasusState {
  const { dataListen, bypassMark, kcpCongestionControl, table, devices, ports, keys } = context
  const { memory = new PegasusMemory() } = context
  const general = table.ranked(null)
  const listeners: PegasusListener[] = [...devices].map(([service_id, name]) => ({
    name,
    port: ports.get(name) ?? 0,
    service_id
  }))
  if (general.length > 0) {
    const attached = table.host.attached.map(formatPrefix)
    listeners.unshift({
      name: GENERAL_LISTENER,
      port: ports.get(GENERAL_LISTENER) ?? 0,
      table: { attached, routes: memory.routes.of(general) }
    })
  }
  return {
    data_listen: dataListen,
    self: desired.self,
    bypass_mark: bypassMark,
    peers: desired.peers.map((peer) => ({
      peer_id: peer.id,
      ...peerKeys('pegasus', peer, keys),
      addresses: peer.dataAddresses
    })),
    listeners,
    outbound: memory.outbound.of(desired.outbound),
    inbound: memory.inbound.of(desired.inbound),
    ...(kcpCongestionControl ? {} : { kcp_congestion_control: false as const })
  }
}

const outboundState = once((service: OutboundService) => ({
  service_id: service.id,
  peer_id: service.targetPeer,
  transport: service.transport,
  bandwidth_mbps: service.bandwidthLimitMbps,
  transparent: service.fullyTransparent
}))

const inboundState = once((service: InboundService) => ({
  service_id: service.id,
  peer_id: service.sourcePeer,
  transport: service.transport,
  bandwidth_mbps: service.bandwidthLimitMbps,
  transparent: service.fullyTransparent,
  routes: service.routes.filter(hasCidr).map(({ sourceCidr, destCidr }) => ({ source: sourceCidr, dest: destCidr })),
  ...(service.routes.every(hasCidr) ? {} : { any: true as const })
}))

const hasCidr = ({ sourceCidr, destCidr }: { sourceCidr: string | null; destCidr: string | null }): boolean =>
  sourceCidr != null || destCidr != null

const tableRoute = once(({ serviceId, id, source, dest }: Route) => ({
  service_id: serviceId,
  route_id: id,
  source: source == null ? null : formatPrefix(source),
  dest: dest == null ? null : formatPrefix(dest)
}))

interface FlowEvent {
  side: FlowRecord['side']
  service_id: ServiceId
  peer_id: PeerId
  client: string
  destination: string
  dialled_from: string | null
  dialled: string | null
  bytes_in: number
  bytes_out: number
  duration_ms: number
  connect_ms?: number | null
  first_byte_ms: number | null
  reason: string
}

/** A `flow` event in our words. */
export function flowRecord(event: EngineEvent): FlowRecord {
  const flow = event as unknown as FlowEvent
  return {
    side: flow.side,
    serviceId: flow.service_id,
    peer: flow.peer_id,
    client: flow.client,
    destination: flow.destination,
    dialledFrom: flow.dialled_from ?? null,
    dialled: flow.dialled ?? null,
    bytesIn: flow.bytes_in,
    bytesOut: flow.bytes_out,
    durationMs: flow.duration_ms,
    connectMs: flow.connect_ms ?? null,
    firstByteMs: flow.first_byte_ms ?? null,
    reason: flow.reason
  }
}

/** The answer to `flows`. */
export interface PegasusFlows {
  total: number
  flows: {
    side: OpenFlow['side']
    peer_id: PeerId
    client: string
    destination: string
    dialled_from: string | null
    state: OpenFlow['state']
    bytes_in: number
    bytes_out: number
    age_ms: number
    connect_ms: number | null
    first_byte_ms: number | null
  }[]
}

export const openFlows = ({ flows }: PegasusFlows): OpenFlow[] =>
  flows.map((flow) => ({
    side: flow.side,
    peer: flow.peer_id,
    client: flow.client,
    destination: flow.destination,
    dialledFrom: flow.dialled_from,
    state: flow.state,
    bytesIn: flow.bytes_in,
    bytesOut: flow.bytes_out,
    ageMs: flow.age_ms,
    connectMs: flow.connect_ms,
    firstByteMs: flow.first_byte_ms
  }))

/** The lists of several engines as one, in the order asked for. */
export function joinFlows(lists: OpenFlow[][], { sort, limit }: FlowsQuery): OpenFlow[] {
  const rank = (flow: OpenFlow): number => (sort === 'age' ? flow.ageMs : flow.bytesIn + flow.bytesOut)
  const [only, ...more] = lists
  if (only != null && more.length === 0) return only
  return lists
    .flat()
    .toSorted((a, b) => rank(b) - rank(a))
    .slice(0, limit)
}
