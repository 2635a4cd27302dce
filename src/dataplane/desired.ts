import type { PeerId, RouteId, ServiceId, TransportType } from '../crdt/schema.ts'
import type { TrackedFlows } from './conntrack.ts'
import type { EngineName } from './engine-protocol.ts'
import type { HostNetworks } from './never-taken.ts'
import type { RulePreview } from './preview.ts'

/**
 * What one host's data plane should do, computed by `actors/reconcile` from the view and nothing else. Plain data, whole
 * each time, so that applying it twice changes nothing. Nobody changes it or a part of it: what is the same object as before
 * is the same.
 */
export interface DesiredState {
  self: PeerId
  /** Remote ends of any service below, by id order. */
  peers: DesiredPeer[]
  /** Services whose source is this host. */
  outbound: OutboundService[]
  /** Services whose target is this host. */
  inbound: InboundService[]
  /** Mesh and data endpoints (`HOST:PORT`) of every member: never taken by a route. */
  endpoints: string[]
}

export interface DesiredPeer {
  id: PeerId
  /** `HOST:PORT` of the data port, in order of preference. */
  dataAddresses: string[]
  pegasusKey: string
  tempestKey: string
  /** The ones before, while the peer changes its keys. */
  keysBefore?: Record<EngineName, string>
}

/** This host's static keys as the engines are told them. */
export interface HostKeys {
  /** X25519 private keys in base64. */
  newest: Record<EngineName, string>
  /** Those before, as long as handshakes with them are good. */
  before: Record<EngineName, string> | null
  /** Peers that have the newest public keys in force; handshakes with the others are begun with those before. */
  known: ReadonlySet<PeerId>
}

export interface SteeringRoute {
  id: RouteId
  serviceId: ServiceId
  sourceCidr: string | null
  destCidr: string | null
  priority: number
}

export interface OutboundService {
  id: ServiceId
  spec: string
  targetPeer: PeerId
  transport: TransportType
  bandwidthLimitMbps: number
  fullyTransparent: boolean
  /** The MACVLAN device the service asks for, or null. */
  interface: { ipv4Cidr: string | null; ipv6Cidr: string | null } | null
  routes: SteeringRoute[]
}

export interface InboundService {
  id: ServiceId
  spec: string
  sourcePeer: PeerId
  transport: TransportType
  bandwidthLimitMbps: number
  fullyTransparent: boolean
  routes: SteeringRoute[]
}

/** How it went, per service and as a whole. */
export interface AppliedState {
  generation: number
  services: ReadonlyMap<ServiceId, AppliedService>
  /** A failure that concerns the whole data plane (no capability, nft missing); null when fine. */
  failure: AppliedFailure | null
}

export interface AppliedFailure {
  /** CamelCase, for conditions. */
  reason: string
  message: string
}

export interface AppliedService {
  /** The `spec` that is in force. */
  spec: string
  failure: AppliedFailure | null
  /** Remarks that do not stop traffic, e.g. ForwardingDisabled, RouteOverlapsAttachedNetwork. */
  warnings: AppliedFailure[]
  effectiveTransport: TransportType | null
  interface: { name: string; mac: string | null; ipv4: string | null; ipv6: string | null } | null
}

export interface ServiceCounters {
  flows: number
  /** Payload bytes that came from / went to the clients' side, Pegasus and Tempest together. */
  bytesIn: number
  bytesOut: number
}

export interface TunnelCounters {
  peer: PeerId
  device: string
  /** Address in use, or null before a handshake. */
  endpoint: string | null
  /** Wall-clock ms of the last WireGuard handshake. */
  handshakeAt: number | null
  bytesIn: number
  bytesOut: number
}

/** One finished TCP flow as either side saw it; each becomes exactly one access line. */
export interface FlowRecord {
  side: 'source' | 'target'
  serviceId: ServiceId
  /** The other end's peer. */
  peer: PeerId
  /** The client's original `IP:PORT`, and what it wanted to reach. */
  client: string
  destination: string
  /** What the target peer bound and dialled; null on the source side. */
  dialledFrom: string | null
  dialled: string | null
  /** Payload bytes from and to the client. */
  bytesIn: number
  bytesOut: number
  durationMs: number
  /** How long the destination took to answer, at the target. */
  connectMs: number | null
  firstByteMs: number | null
  /** Why it ended, e.g. `closed`, `client_reset`, `destination_refused`, `carrier_lost`, `refused_not_covered`. */
  reason: string
}

/** Which open flows of a service to tell: `bytes`, those with most of them first; `age`, the oldest first. */
export interface FlowsQuery {
  sort: 'bytes' | 'age'
  limit: number
}

/** One open TCP flow as this side sees it. */
export interface OpenFlow {
  side: FlowRecord['side']
  peer: PeerId
  client: string
  destination: string
  dialledFrom: string | null
  /** For a carrier; for the destination's answer; both ways open; one way has ended. */
  state: 'waiting' | 'dialling' | 'open' | 'ending'
  bytesIn: number
  bytesOut: number
  ageMs: number
  connectMs: number | null
  firstByteMs: number | null
}

export type DataplaneEvent =
  | { type: 'engine.started'; engine: 'pegasus' | 'tempest'; pid: number; adopted: boolean }
  | { type: 'engine.exited'; engine: 'pegasus' | 'tempest'; reason: string }
  | { type: 'engine.ready'; engine: 'pegasus' | 'tempest' }
  | { type: 'flow.closed'; flow: FlowRecord }
  | { type: 'kernel.repaired'; what: string }
  | { type: 'applied'; applied: AppliedState }

/**
 * The data plane as the actors see it. `kernel.ts` is the real one; `none.ts` answers every service with the failure
 * `DataplaneDisabled`.
 */
export interface Dataplane {
  readonly mode: 'kernel' | 'none'
  /** Checks privileges and kernel features, adopts or cleans up what an earlier run left, starts the engines. */
  start(): Promise<void>
  /** Brings the host to `desired`. Calls are serialised and coalesced: only the newest waiting state is applied. */
  apply(desired: DesiredState): Promise<AppliedState>
  /** Has the engines take these keys; true once they have them, false when the host refuses: it is to be tried again. */
  setKeys(keys: HostKeys): Promise<boolean>
  /** Which engine is up, pid and version, for `status` and readiness. */
  engines(): EngineStatus[]
  counters(): Promise<ReadonlyMap<ServiceId, ServiceCounters>>
  tunnels(): Promise<TunnelCounters[]>
  /** Open flows of a service that this host is an end of. @throws {UnavailableError} when Pegasus cannot be asked */
  flows(service: ServiceId, query: FlowsQuery): Promise<OpenFlow[]>
  /** What goes through this host, carried or not, as its kernel tracks it. @throws {UnavailableError} when it does not show that */
  tracked?(): Promise<TrackedFlows>
  onEvent(listener: (event: DataplaneEvent) => void): () => void
  /** The host's addresses and attached networks that steering goes by, for `routes test`; null before the first look. */
  host?(): HostNetworks | null
  /** What this state would change in the host's rules; changes nothing. Null while nothing has been applied. */
  preview?(desired: DesiredState): RulePreview | null
  /**
   * `remove`: stop intercepting, drain flows up to `drainMs`, take everything of ours out of the kernel, end the engines.
   * `keep`: leave kernel state and engines running for the next agent.
   */
  stop(options: { mode: 'remove' | 'keep'; drainMs: number }): Promise<void>
}

export interface EngineStatus {
  engine: 'pegasus' | 'tempest'
  pid: number | null
  state: 'starting' | 'ready' | 'failed' | 'stopped'
  generation: number | null
  version: string | null
  restarts: number
  /** Engines of builds before this one that still have flows. */
  draining: DrainingEngine[]
}

export interface DrainingEngine {
  pid: number
  version: string
}
