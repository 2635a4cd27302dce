import type {
  PeerId,
  Policy,
  Role,
  RouteInput,
  RoutePatch,
  RouteId,
  ServiceId,
  ServiceInput,
  ServicePatch,
  TransportType
} from '../../crdt/schema.ts'
import type { FlowRecord, FlowsQuery } from '../../dataplane/desired.ts'
import type { FlowJson } from './flows.ts'
import type { HistoryStateJson } from './behind.ts'
import type { HistoryObject } from '../../crdt/history.ts'
import type { ChangeJson, EpochJson, HistoryQuery, UndoneJson, VerificationJson } from './history-json.ts'
import type { Rule } from './route-rules.ts'
import type { RouteTestInput } from './route-test.ts'
import type { Concerned } from './wait.ts'
import type { DiagnosticsJson } from './diagnostics.ts'
import type { ActivityJson } from './activity.ts'
import type { ConnectionsJson } from './connections.ts'
import type {
  ActorDetailJson,
  ActorSentJson,
  ActorUpdateJson,
  DeathNotice,
  SentEvent,
  TransitionJson
} from './actor-json.ts'
import type { DoctorJson } from './doctor.ts'
import type { Draft } from './draft.ts'
import type { LicenseJson } from './license.ts'
import type { NewTokenJson, TokenJson, TokenRequest } from './tokens.ts'

/** How fresh an answer about services is: with `asKnown` as this peer knows it now, else their ends are asked first. */
export interface AnswerOptions {
  asKnown?: boolean
}

/**
 * Everything an operator can ask of an agent, as one interface: the HTTP API is a thin skin over it and the CLI another
 * one over HTTP. Inputs may name a peer by id, unique id prefix or name. Answers are the JSON of the contract, as is.
 * Rejects with ArcticError and nothing else, unless there is a bug.
 */
export interface Operator {
  status(): Promise<StatusJson>
  clusterInit(input: { name?: string }): Promise<ClusterJson>
  clusterInvite(input: {
    ttl_seconds?: number
    uses?: number
    role?: Role
  }): Promise<{ token: string; expires_at: string; uses: number; role: Role }>
  clusterJoin(input: { token: string }, options: { signal: AbortSignal }): Promise<ClusterJson>
  /** Signs this peer's departure, tells the others and forgets the cluster; also for who was thrown out. */
  clusterLeave(): Promise<LeaveJson>
  clusterStatus(): Promise<ClusterJson>
  /** Changes the fields it is given; null is no limit. */
  setPolicy(patch: Partial<Policy>): Promise<ClusterJson>
  clusterSync(options: { signal: AbortSignal }): Promise<SyncJson>
  /** Newest first; as many as asked for, and no more than a bound. */
  clusterHistory(query: HistoryQuery): Promise<ChangeJson[]>
  /** Verifies signatures, hash chains and who may write what, of all that this peer holds. A flaw is an answer. */
  verifyHistory(): Promise<VerificationJson>
  listPeers(input: { all?: boolean }): Promise<PeerJson[]>
  getPeer(peer: string): Promise<PeerJson>
  /** Changes what it is given: another name, another role. */
  updatePeer(peer: string, patch: PeerPatch): Promise<PeerJson>
  /** Has a member's data-plane keys changed, without a flow noticing. `by`: who asks, for the record. */
  rotateKeys(peer: string, options: { by: string; signal: AbortSignal }): Promise<PeerJson>
  /** The same as `waitFor`, of all services that a peer is an end of. */
  waitForKeys(peer: PeerId, options: { timeoutMs: number; signal: AbortSignal }): Promise<WaitJson>
  /** Throws a member out, for good. */
  revokePeer(peer: string): Promise<void>
  /** `source_peer_id` defaults to this peer. */
  createService(input: Omit<ServiceInput, 'source_peer_id'> & { source_peer_id?: string }): Promise<ServiceJson>
  listServices(input: { target_peer_id?: string; source_peer_id?: string }): Promise<ServiceJson[]>
  getService(id: ServiceId, options?: AnswerOptions): Promise<ServiceJson>
  /** Open TCP flows of a service at this peer, an end of it. InvalidRequestError at any other. */
  listFlows(id: ServiceId, query: FlowsQuery): Promise<FlowJson[]>
  /** `ifMatch`: entity tags, see service-tag.ts; ConflictError when none is the service's as this peer knows it now. */
  updateService(id: ServiceId, patch: ServicePatch, options?: { ifMatch?: readonly string[] }): Promise<ServiceJson>
  deleteService(id: ServiceId, options?: { ifMatch?: readonly string[] }): Promise<void>
  addRoutes(service: ServiceId, routes: RouteInput[]): Promise<RouteJson[]>
  listRoutes(service?: ServiceId, options?: AnswerOptions): Promise<RouteJson[]>
  updateRoute(service: ServiceId, route: RouteId, patch: RoutePatch): Promise<RouteJson>
  deleteRoute(service: ServiceId, route: RouteId): Promise<void>
  /** Signs what the history has come to, for who joins. */
  clusterEpoch(): Promise<EpochJson>
  /**
   * Takes a change back by a change of its own, while all of it stands as it left it; else a ConflictError (409) that names what
   * has changed since. `change`: its hash, or a start of it. `agree` is told what the inverse would be about, and may throw.
   */
  undo(input: { change: string }, agree?: (kinds: ReadonlySet<HistoryObject['kind']>) => void): Promise<UndoneJson>
  /** What a draft would change in the rules of each peer concerned; nobody changes anything. */
  previewRules(draft: Draft): Promise<PeerRulesJson[]>
  /**
   * Waits until what was written of these services is in force, in kernel and engines of both ends as far as they can be
   * reached, or gone where they were deleted; or until the time is up. Never takes anything back.
   */
  waitFor(services: readonly Concerned[], options: { timeoutMs: number; signal: AbortSignal }): Promise<WaitJson>
  /** The same for what was written of a peer: until every member that can be reached says that it knows. */
  waitForMembers(peer: string | null, options: { timeoutMs: number; signal: AbortSignal }): Promise<WaitJson>
  /** `by` is the token that asks: it can give no more than it has. ForbiddenError. The answer holds the secret, once. */
  createToken(input: TokenRequest, by: TokenJson | null): Promise<NewTokenJson>
  listTokens(): Promise<TokenJson[]>
  revokeToken(id: string): Promise<void>
  /** Whose a token's text is, if it is good now. UnauthorizedError. */
  authenticate(text: string): TokenJson
  testRoute(input: RouteTestInput): Promise<RouteTestJson>
  /**
   * The cluster as it was: at a time (ISO 8601), or just after a change (its hash, or a start of it).
   * InvalidRequestError, ConflictError for a change that does not count, `not_found`.
   */
  at(moment: string): Promise<PastAnswers>
  actors(options?: ActorOptions): Promise<ActorJson>
  /** What is going on at an agent: services, tunnels, flows, actors, with their counters. */
  activity(options?: ActorOptions): Promise<ActivityJson>
  /** What goes through an agent's host, carried or not. ForbiddenError of another host for a member that is no admin. */
  connections(options?: ActorOptions): Promise<ConnectionsJson>
  /** An actor by its address, `actor://PEER/…` included; services and peers in it may go by name. `not_found`. */
  inspectActor(path: string, options?: ActorOptions): Promise<ActorDetailJson>
  /** The last steps of an actor, oldest first, even when it has ended. */
  actorHistory(path: string, options?: ActorOptions): Promise<TransitionJson[]>
  /**
   * Only what the actor takes by hand, and now: InvalidRequestError and ConflictError list it. To an actor of another
   * peer only an admin may send: ForbiddenError.
   */
  sendActor(path: string, event: SentEvent, options: SendOptions): Promise<ActorSentJson>
  /** The same without an answer: resolves when the event is on its way, and of another peer nobody says what became of it. */
  tellActor(path: string, event: SentEvent, options: SendOptions): Promise<void>
  /** Each step of one actor, or of all (null). The first update says how it stands. Resolves with the unsubscriber. */
  watchActor(
    path: string | null,
    listener: (update: ActorUpdateJson) => void,
    options?: WatchOptions
  ): Promise<() => void>
  /** Calls once when the actor ends, or its peer cannot be reached any more. Resolves with the unsubscriber. */
  monitorActor(path: string, onEnd: (notice: DeathNotice) => void, options?: ActorOptions): Promise<() => void>
  license(): Promise<LicenseJson>
  /** Looks at the host, this agent, and its way to each member; takes as long as the slowest peer's answer. */
  doctor(): Promise<DoctorJson>
  /** Not ready is an answer with the reasons, not an error. */
  ready(): Promise<{ ready: boolean; reasons: string[] }>
  /** What a bug report needs and no other answer has; no secrets. */
  diagnostics(): Promise<DiagnosticsJson>
  /** Prometheus text format 0.0.4. */
  metrics(): Promise<string>
  /** Every state change, from now on, in order. `--watch` and `GET /v1/events` live on it. Returns the unsubscriber. */
  onEvent(listener: (event: OperatorEvent) => void): () => void
}

/** The questions that can be asked of the past. The same answers, but for what nobody wrote down: that is null. */
export interface PastAnswers {
  listServices(input: { target_peer_id?: string; source_peer_id?: string }): PastServiceJson[]
  getService(id: string): PastServiceJson
  listRoutes(service?: string): PastRouteJson[]
  listPeers(input: { all?: boolean }): PastPeerJson[]
  /** By the routes of then; networks that are attached to this host count as they are now. */
  testRoute(input: RouteTestInput): RouteTestJson
}

type Nulled<T, Fields extends keyof T> = Omit<T, Fields> & Record<Fields, null>
export type PastServiceJson = Nulled<ServiceJson, 'status'>
export type PastRouteJson = Nulled<RouteJson, 'status'>
export type PastPeerJson = Nulled<PeerJson, 'reachable' | 'rtt_ms' | 'last_seen_at' | 'keys'>

export interface ActorOptions {
  /** The agent of another member, by id, unique id prefix or name; this one without it. */
  peer?: string | undefined
  signal?: AbortSignal | undefined
}

export interface SendOptions extends ActorOptions {
  /** Who asks, for the log and the record. */
  by: string
}

export interface WatchOptions extends ActorOptions {
  /** The watch is over although nobody ended it: the actor's peer refuses it now, or is no member any more. */
  onEnd?: (error: unknown) => void
}

export interface OperatorEvent {
  /** `service.created service.updated service.deleted service.status route.* peer.* cluster.* token.* flow.closed engine.* actor.sent` */
  type: string
  at: string
  data: Record<string, unknown> | FlowRecord
}

export interface ConditionJson {
  type: string
  status: boolean
  reason: string
  message: string
  since: string
}

export interface ServiceJson {
  id: ServiceId
  name: string
  source_peer_id: PeerId
  target_peer_id: PeerId
  transport_type: TransportType
  requires_interface: boolean
  desired_ipv4_cidr: string | null
  desired_ipv6_cidr: string | null
  bandwidth_limit_mbps: number
  fully_transparent: boolean
  created_at: string
  updated_at: string
  status: {
    phase: 'pending' | 'active' | 'degraded' | 'deleting'
    conditions: ConditionJson[]
    effective_transport: TransportType | null
    interface: { name: string; mac: string | null; ipv4: string | null; ipv6: string | null } | null
    flows: number
    bytes_in: number
    bytes_out: number
  }
}

export interface RouteJson {
  id: RouteId
  service_id: ServiceId
  source_cidr: string | null
  dest_cidr: string | null
  priority: number
  status: 'pending' | 'active' | 'degraded'
}

/** How waiting for a change went. */
export interface WaitJson {
  /** Everybody who can be reached has it in force. */
  done: boolean
  waited_ms: number
  /** Who has not, and why; at most some. */
  stragglers: StragglerJson[]
  /** How many more there are. */
  more: number
  /** Who was not waited for, since it does not answer; it takes the change over when it is back. */
  unreachable: Array<{ peer: PeerId; name: string }>
}

/** Lines of table `inet arctic` at one peer that would come and go: an object of the table and one rule or element of it. */
export interface PeerRulesJson {
  peer_id: PeerId
  name: string | null
  added: string[]
  removed: string[]
  /** Lines that are left out. */
  more: number
  /** Why they are not known; null when they are. */
  problem: string | null
}

export interface StragglerJson {
  peer: PeerId
  name: string
  /** Null where no service is concerned. */
  service_id: ServiceId | null
  /** CamelCase, as in conditions. */
  reason: string
  message: string
}

export interface PeerPatch {
  name?: string
  role?: Role
}

/** How a peer ceased to be a member, and who keeps it out. */
export interface DepartureJson {
  /** `proven`: revoked by the proof that it signed two things as one. */
  how: 'revoked' | 'left' | 'proven'
  by: PeerId
  by_name: string | null
  at: string
  /** Members that have taken it in, and cut the peer off; and those that this peer has not heard it from yet. */
  confirmed_by: Array<{ id: PeerId; name: string }>
  awaited: Array<{ id: PeerId; name: string }>
}

export interface PeerJson {
  id: PeerId
  name: string | null
  state: 'discovered' | 'admitted' | 'revoked'
  role: Role | 'leaf' | null
  addresses: string[]
  reachable: boolean
  rtt_ms: number | null
  last_seen_at: string | null
  version: string | null
  /** Of its data planes, as the peer tells them; null unless it is a member that has told. */
  keys: {
    /** X25519 public keys in base64. */
    pegasus: string
    tempest: string
    /** By the peer's clock; null of an agent that does not say. */
    made_at: string | null
    /** The keys before are still good. */
    changing: boolean
    /** Ends of its services that have these keys in force, as far as this agent has heard, and those that have not. */
    in_force: Array<{ id: PeerId; name: string }>
    awaited: Array<{ id: PeerId; name: string }>
  } | null
  /** Null for a member, and for who never was one. */
  departure: DepartureJson | null
  /** Data-plane tunnels between this agent's host and that peer. */
  tunnels: Array<{
    device: string
    endpoint: string | null
    handshake_at: string | null
    bytes_in: number
    bytes_out: number
  }>
}

export interface ClusterJson {
  id: string
  name: string
  self: PeerId
  /** What went wrong with this peer's membership, and what to do; null for a member. */
  notice: string | null
  members: Array<{ id: PeerId; name: string | null; role: Role; reachable: boolean; heads: readonly string[] | null }>
  /** Who was a member once, the latest first. */
  departed: Array<{ id: PeerId; name: string } & Pick<DepartureJson, 'how' | 'by' | 'by_name' | 'at'>>
  heads: readonly string[]
  history: HistoryStateJson
  /** All reachable peers announce the same heads as this one. */
  agreed: boolean
  policy: Policy
  propagation_ms: { p50: number | null; p99: number | null; samples: number }
  rejected_changes: Array<{ hash: string; author: PeerId; reason: string }>
  /** Members whose identity two agents bear at once, and what to do about it. */
  copied_identities: Array<{ id: PeerId; name: string | null; message: string }>
}

export interface LeaveJson {
  id: string
  name: string
  /** Members that know of it; and those that could not be reached, and will hear of it from the others. */
  told: Array<{ id: PeerId; name: string }>
  missed: Array<{ id: PeerId; name: string }>
  /** Where the log of the cluster is kept, for who wants to look. */
  log_kept_as: string
}

export interface SyncJson {
  peers: Array<{ id: PeerId; name: string | null; received: number; sent: number; error: string | null }>
  /** What the re-apply changed in the kernel or the engines; empty when all was as it should be. */
  changes: string[]
}

export interface RouteTestJson {
  service_id: ServiceId | null
  route_id: RouteId | null
  target_peer_id: PeerId | null
  handler: 'pegasus' | 'tempest' | 'none'
  reason: string
  /** The last change of the winning route; with `trace`. */
  change?: { id: string; author: PeerId; author_name: string | null; at: string } | null
  candidates?: Array<{ service_id: ServiceId; route_id: RouteId | null; won: boolean; rule: Rule; reason: string }>
}

export interface ActorJson {
  /** `kind:name`, e.g. `service:01J…`; the root is `agent`. */
  path: string
  /** The machine's state value, as text (`active`, `open.draining`), or null for plain logic. */
  state: string | null
  status: 'active' | 'done' | 'error' | 'stopped'
  children: ActorJson[]
}

export interface StatusJson {
  peer: { id: PeerId; name: string; version: string; state_dir: string; uptime_seconds: number }
  cluster: {
    id: string
    name: string
    members: number
    reachable: number
    /** Of this peer; null when it is no member any more. */
    role: Role | null
    /** What went wrong with its membership, and what to do. */
    notice: string | null
  } | null
  dataplane: {
    mode: 'kernel' | 'none'
    failure: { reason: string; message: string } | null
    engines: Array<{
      engine: string
      state: string
      pid: number | null
      version: string | null
      restarts: number
      /** Engines of builds before this one that still have flows. */
      draining: Array<{ pid: number; version: string }>
    }>
  }
  services: { total: number; active: number; pending: number; degraded: number }
  listen: { mesh: string[]; data: string; api: string | null; socket: string; api_fingerprint: string | null }
  /** `problem`: why the licence does not count. */
  license: { edition: string; problem: string | null }
  ready: boolean
  reasons: string[]
}
