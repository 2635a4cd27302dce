import type { TrackedFlow } from '../../src/dataplane/conntrack.ts'
import type {
  ClusterJson,
  LeaveJson,
  Operator,
  OperatorEvent,
  PastAnswers,
  PeerJson,
  PeerPatch,
  PeerRulesJson,
  RouteJson,
  ServiceJson,
  StatusJson,
  WaitJson
} from '../../src/actors/operator/operator.ts'
import type { DiagnosticsJson } from '../../src/actors/operator/diagnostics.ts'
import type {
  ChangeJson,
  EpochJson,
  HistoryQuery,
  UndoneJson,
  VerificationJson
} from '../../src/actors/operator/history-json.ts'
import type { FlowJson } from '../../src/actors/operator/flows.ts'
import type { FlowsQuery } from '../../src/dataplane/desired.ts'
import type { ActorWindow } from '../../src/actors/operator/actor-window.ts'
import type { CheckJson, DoctorJson } from '../../src/actors/operator/doctor.ts'
import type { LicenseJson } from '../../src/actors/operator/license.ts'
import type { Concerned } from '../../src/actors/operator/wait.ts'
import { type NewTokenJson, type TokenJson, TokenNouns, type TokenRequest } from '../../src/actors/operator/tokens.ts'
import { checkServiceTag } from '../../src/actors/operator/service-tag.ts'
import { viaNow } from '../../src/caller.ts'
import { type Clock, isoTime, systemClock } from '../../src/clock.ts'
import { contains, parseAddress, parseCidr } from '../../src/crdt/cidr.ts'
import { newId } from '../../src/crdt/ids.ts'
import type {
  PeerId,
  Policy,
  Role,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServicePatch,
  ServiceRecord,
  TokenRecord
} from '../../src/crdt/schema.ts'
import { checkPolicy } from '../../src/crdt/policy.ts'
import { formatToken, newToken, type TokenInput } from '../../src/crdt/token.ts'
import { newRoute, newService, patchRoute, patchService } from '../../src/crdt/validate.ts'
import {
  AlreadyInClusterError,
  ArcticError,
  ConflictError,
  InvalidRequestError,
  InviteInvalidError,
  NameTakenError,
  NotInClusterError,
  PeerNotFoundError,
  RouteNotFoundError,
  ServiceLimitExceededError,
  ServiceNotFoundError,
  TokenNotFoundError,
  TargetPeerNotAdmittedError
} from '../../src/errors.ts'
import type { Draft } from '../../src/actors/operator/draft.ts'
import type { Member, View } from '../../src/crdt/view.ts'
import { systemRandom } from '../../src/random.ts'
import { MemoryActors } from './memory-actors.ts'

export const EDGE_A = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
export const EDGE_B = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'
export const EDGE_C = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

/** The token that this one-host cluster accepts. */
export const GOOD_TOKEN = 'arctic-good-token'

/**
 * An operator without mesh or data plane: one host's cluster of edge-a (itself) and edge-b (admitted), with edge-c seen but
 * not admitted. Services and routes are validated and kept as the product does it, in memory.
 */
export class MemoryOperator implements Operator {
  /** Of every service. */
  flows: FlowJson[] = []
  readonly #clock: Clock
  #memory: MemoryActors | null = null
  readonly #listeners = new Set<(event: OperatorEvent) => void>()
  readonly services = new Map<string, ServiceRecord>()
  readonly routes = new Map<string, RouteRecord>()
  readonly tokens = new Map<string, TokenRecord>()
  cluster: { id: string; name: string } | null = { id: '01JD0000000000000000000000', name: 'test' }
  /** What became of peers by request. */
  /** Peers whose keys were changed, and who asked for it. */
  readonly rotated = new Map<PeerId, number>()
  readonly rotatedBy: string[] = []
  readonly keysWaitedFor: PeerId[] = []
  readonly told = new Map<PeerId, { name: string; role: PeerJson['role']; revoked: boolean }>()
  policy: Policy = { max_services: null }
  licenseProblem: string | null = null
  /** Oldest first. */
  readonly changes: ChangeJson[] = []
  /** Peers that have not programmed anything. */
  readonly late = new Set<PeerId>()
  readonly moments = new Map<string, ServiceRecord[]>()
  readonly waits: Array<{ services: string[]; timeoutMs: number }> = []
  /** Members that a departure does not reach. */
  unreached: string[] = []
  /** Set while a join waits; aborted when its asker has gone. */
  joining: AbortSignal | null = null

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  async status(): Promise<StatusJson> {
    const services = this.services.size
    return {
      peer: { id: EDGE_A, name: 'edge-a', version: '0.1.0', state_dir: '/state', uptime_seconds: 3723 },
      cluster: this.cluster == null ? null : { ...this.cluster, members: 2, reachable: 2, role: 'admin', notice: null },
      dataplane: { mode: 'none', failure: { reason: 'DataplaneDisabled', message: 'none here' }, engines: [] },
      services: { total: services, active: 0, pending: services, degraded: 0 },
      license: { edition: 'community', problem: this.licenseProblem },
      listen: { mesh: ['/ip4/127.0.0.1/tcp/1'], data: '127.0.0.1:2', api: null, socket: '/s', api_fingerprint: null },
      ready: false,
      reasons: ['the data plane is off']
    }
  }

  async clusterInit({ name = 'arctic' }: { name?: string }): Promise<ClusterJson> {
    if (this.cluster != null) throw new AlreadyInClusterError(this.cluster.name)
    this.cluster = { id: this.#id(), name }
    this.emit('cluster.created', { ...this.cluster })
    return this.clusterStatus()
  }

  async clusterInvite(input: { ttl_seconds?: number; uses?: number; role?: Role }) {
    this.#member()
    const { ttl_seconds = 3600, uses = 1, role = 'admin' } = input
    return { token: GOOD_TOKEN, expires_at: isoTime(this.#clock.now() + ttl_seconds * 1000), uses, role }
  }

  /** The token `wait` waits for ever, as a join does whose other side is slow. */
  async clusterJoin({ token }: { token: string }, { signal }: { signal: AbortSignal }): Promise<ClusterJson> {
    if (this.cluster != null) throw new AlreadyInClusterError(this.cluster.name)
    if (token === 'wait') {
      this.joining = signal
      await this.#clock.sleep(60_000, { signal })
    }
    if (token !== GOOD_TOKEN) throw new InviteInvalidError('it is not one of this cluster')
    this.cluster = { id: this.#id(), name: 'joined' }
    return this.clusterStatus()
  }

  async clusterLeave(): Promise<LeaveJson> {
    const cluster = this.#member()
    this.cluster = null
    this.emit('cluster.left', { ...cluster })
    return {
      ...cluster,
      told: [{ id: EDGE_B, name: 'edge-b' }],
      missed: this.unreached.map((name) => ({ id: EDGE_C, name })),
      log_kept_as: '/state/cluster/log.left'
    }
  }

  async clusterStatus(): Promise<ClusterJson> {
    const cluster = this.#member()
    return {
      ...cluster,
      self: EDGE_A,
      notice: null,
      departed: [],
      members: [
        { id: EDGE_A, name: 'edge-a', role: 'admin', reachable: true, heads: ['aa'] },
        { id: EDGE_B, name: 'edge-b', role: 'member', reachable: true, heads: ['aa'] }
      ],
      heads: ['aa'],
      agreed: true,
      policy: this.policy,
      propagation_ms: { p50: 8.123, p99: 60, samples: 12 },
      rejected_changes: [],
      history: {
        state: 'verified',
        verified: null,
        entries: null,
        epoch: null,
        signed_by: null,
        signed_by_name: null,
        contradiction: null
      },
      copied_identities: []
    }
  }

  async setPolicy(patch: Partial<Policy>): Promise<ClusterJson> {
    this.policy = checkPolicy({ ...this.policy, ...patch })
    return this.clusterStatus()
  }

  checks: CheckJson[] = [{ name: 'open files', status: 'ok', found: 'up to 20000', mend: null }]

  async doctor(): Promise<DoctorJson> {
    return { ok: this.checks.every(({ status }) => status !== 'fail'), checks: this.checks }
  }

  async license(): Promise<LicenseJson> {
    return {
      edition: 'community',
      holder: null,
      limits: { services: this.policy.max_services },
      usage: { services: this.services.size, peers: 2 },
      issued_at: null,
      expires_at: null,
      file: null,
      problem: this.licenseProblem,
      peer: EDGE_A
    }
  }

  async clusterSync() {
    this.#member()
    return { peers: [{ id: EDGE_B, name: 'edge-b', received: 0, sent: 0, error: null }], changes: [] }
  }

  async clusterHistory({ service, author, until, limit = 100 }: HistoryQuery): Promise<ChangeJson[]> {
    this.#member()
    if (service != null && !this.changes.some(({ objects }) => objects[0]?.id === service)) this.#find(service)
    const by = author == null ? null : (await this.getPeer(author)).id
    return this.changes
      .filter(({ objects }) => service == null || objects.some(({ id }) => id === service))
      .filter((change) => by == null || change.author === by)
      .filter(({ at }) => until == null || Date.parse(at) <= Date.parse(until))
      .toReversed()
      .slice(0, limit)
  }

  /** Set where the history has a flaw. */
  flaw: VerificationJson['flaw'] = null

  async clusterEpoch(): Promise<EpochJson> {
    const said = { entries: this.changes.length, bytes: 4096, digest: 'd'.repeat(64) }
    return { id: 'e'.repeat(64), at: '2026-11-20T18:00:00.000Z', author: EDGE_A, author_name: 'edge-a', ...said }
  }

  async verifyHistory(): Promise<VerificationJson> {
    const verified = this.changes.length
    return {
      ok: this.flaw == null,
      cluster_id: this.#member().id,
      founder: EDGE_A,
      founded_at: this.#now(),
      verified,
      changes: verified,
      auth_entries: 0,
      invalid: 0,
      authors: 1,
      bytes: 300 * verified,
      flaw: this.flaw
    }
  }

  async listPeers({ all = false }: { all?: boolean }): Promise<PeerJson[]> {
    return this.#peers().filter(({ state }) => all || state === 'admitted')
  }

  async getPeer(peer: string): Promise<PeerJson> {
    const found = this.#peers().filter(({ id, name }) => name === peer || id.startsWith(peer))
    if (found.length > 1) throw new PeerNotFoundError(peer, 'several peers have this id prefix')
    if (found[0] == null) throw new PeerNotFoundError(peer)
    return found[0]
  }

  async updatePeer(peer: string, { name, role }: PeerPatch): Promise<PeerJson> {
    const { id, name: before, state, role: held } = await this.getPeer(peer)
    if (state !== 'admitted') throw new PeerNotFoundError(peer, 'it is not a member')
    if (name != null && this.#peers().some((other) => other.name === name && other.id !== id)) {
      throw new NameTakenError('peer', name)
    }
    this.told.set(id, { name: name ?? before ?? id, role: role ?? held, revoked: false })
    return this.getPeer(id)
  }

  async rotateKeys(peer: string, { by }: { by: string }): Promise<PeerJson> {
    const { id } = await this.getPeer(peer)
    if (this.rotated.has(id)) throw new ConflictError(409, 'the keys were changed lately')
    this.rotated.set(id, this.rotated.size + 1)
    this.rotatedBy.push(by)
    return this.getPeer(id)
  }

  async waitForKeys(peer: PeerId, options: { timeoutMs: number; signal: AbortSignal }): Promise<WaitJson> {
    this.keysWaitedFor.push(peer)
    return this.waitForMembers(peer, options)
  }

  async revokePeer(peer: string): Promise<void> {
    const { id, name } = await this.getPeer(peer)
    if (id === EDGE_A) throw new InvalidRequestError('a peer cannot revoke itself; use "arctic cluster leave"')
    this.told.set(id, { name: name ?? id, role: null, revoked: true })
  }

  async createService(input: Parameters<Operator['createService']>[0]): Promise<ServiceJson> {
    this.#member()
    const target = await this.getPeer(input.target_peer_id)
    const source = await this.getPeer(input.source_peer_id ?? EDGE_A)
    const { max_services: max } = this.policy
    if (max != null && this.services.size >= max) throw new ServiceLimitExceededError(max, 'the cluster policy allows')
    if (target.state !== 'admitted') throw new TargetPeerNotAdmittedError(target.id, target.state)
    const ids = { target_peer_id: target.id, source_peer_id: source.id }
    const service = newService({ ...input, ...ids }, this.#id(), this.#now())
    this.#checkName(service)
    this.services.set(service.id, service)
    this.emit('service.created', { id: service.id })
    return this.#service(service)
  }

  async listServices(filter: { target_peer_id?: string; source_peer_id?: string }): Promise<ServiceJson[]> {
    const target = filter.target_peer_id == null ? null : (await this.getPeer(filter.target_peer_id)).id
    const source = filter.source_peer_id == null ? null : (await this.getPeer(filter.source_peer_id)).id
    return [...this.services.values()]
      .filter((service) => target == null || service.target_peer_id === target)
      .filter((service) => source == null || service.source_peer_id === source)
      .map((service) => this.#service(service))
  }

  async listFlows(id: string, { sort, limit }: FlowsQuery): Promise<FlowJson[]> {
    this.#find(id)
    const rank = (flow: FlowJson): number => (sort === 'age' ? flow.age_ms : flow.bytes_in + flow.bytes_out)
    return this.flows.toSorted((a, b) => rank(b) - rank(a)).slice(0, limit)
  }

  async getService(id: string): Promise<ServiceJson> {
    return this.#service(this.#find(id))
  }

  async updateService(id: string, patch: ServicePatch, { ifMatch }: { ifMatch?: readonly string[] } = {}) {
    checkServiceTag(this.#find(id), ifMatch)
    const service = { ...patchService(this.#find(id), patch), updated_at: this.#now() }
    this.#checkName(service)
    this.services.set(id, service)
    this.emit('service.updated', { id })
    return this.#service(service)
  }

  async deleteService(id: string, { ifMatch }: { ifMatch?: readonly string[] } = {}): Promise<void> {
    checkServiceTag(this.#find(id), ifMatch)
    this.services.delete(this.#find(id).id)
    for (const route of this.routes.values()) if (route.service_id === id) this.routes.delete(route.id)
    this.emit('service.deleted', { id })
  }

  async addRoutes(service: string, inputs: RouteInput[]): Promise<RouteJson[]> {
    const owner = this.#find(service)
    const added = inputs.map((input) => newRoute(input, this.#id(), owner))
    for (const route of added) {
      this.routes.set(route.id, route)
      this.emit('route.created', { id: route.id })
    }
    return added.map((route) => ({ ...route, status: 'pending' }))
  }

  async listRoutes(service?: string): Promise<RouteJson[]> {
    if (service != null) this.#find(service)
    return [...this.routes.values()]
      .filter((route) => service == null || route.service_id === service)
      .map((route) => ({ ...route, status: 'pending' }))
  }

  async updateRoute(service: string, id: string, patch: RoutePatch): Promise<RouteJson> {
    const route = patchRoute(this.#route(service, id), patch, this.#find(service))
    this.routes.set(id, route)
    this.emit('route.updated', { id })
    return { ...route, status: 'pending' }
  }

  async deleteRoute(service: string, id: string): Promise<void> {
    this.routes.delete(this.#route(service, id).id)
    this.emit('route.deleted', { id })
  }

  /** The past is as today was when `moments` was filled. */
  async at(moment: string): Promise<PastAnswers> {
    const then = this.moments.get(moment)
    if (then == null) throw new ArcticError('not_found', `no change begins with "${moment}"`, { change: moment })
    const none = { status: null }
    return {
      listServices: () => then.map((service) => ({ ...service, ...none })),
      getService: (id) => ({ ...(then.find((one) => one.id === id) ?? this.#find('')), ...none }),
      listRoutes: (service) =>
        [...this.routes.values()]
          .filter((route) => service == null || route.service_id === service)
          .map((route) => ({ ...route, ...none })),
      listPeers: () =>
        this.#peers().map((peer) => ({ ...peer, reachable: null, rtt_ms: null, last_seen_at: null, keys: null })),
      testRoute: () => ({
        service_id: null,
        route_id: null,
        target_peer_id: null,
        handler: 'none',
        reason: `nothing matched at ${moment}`
      })
    }
  }

  /** Of what is in `changes`, which a test puts there: says that it is undone, and changes nothing. */
  async undo({ change }: { change: string }, agree: Parameters<Operator['undo']>[1] = () => {}): Promise<UndoneJson> {
    const found = this.changes.find(({ id }) => id.startsWith(change))
    if (found == null) throw new ArcticError('not_found', `no change begins with "${change}"`, { change })
    if (found.kind === 'auth') throw new InvalidRequestError('that is not undone', { change: found.id })
    if (!found.valid) throw new ConflictError(409, 'a route was added since', { change: found.id, later_change: 'ff' })
    agree(new Set(found.objects.map(({ kind }) => kind)))
    const services = [...this.services.values()].filter(({ id }) => found.objects.some((object) => object.id === id))
    return { undone: found.id, change: { ...found, id: 'f'.repeat(64) }, services }
  }

  /** The source peer has a line for each route; the others say nothing. */
  async previewRules({ services, routes }: Draft): Promise<PeerRulesJson[]> {
    const lines = routes.map(({ dest_cidr }) => `map route: ${dest_cidr}`)
    const quiet = { removed: [], more: 0 }
    return services.flatMap(({ source_peer_id, target_peer_id }) => [
      { peer_id: source_peer_id, name: 'edge-a', added: lines, ...quiet, problem: null },
      { peer_id: target_peer_id, name: 'edge-b', added: [], ...quiet, problem: 'it cannot be reached now' }
    ])
  }

  /** Answers at once: done, unless somebody in `late` is an end of it. */
  async waitFor(services: readonly Concerned[], { timeoutMs }: { timeoutMs: number }): Promise<WaitJson> {
    this.waits.push({ services: services.map(({ id }) => id), timeoutMs })
    const stragglers = services.flatMap(({ id, source_peer_id, target_peer_id }) =>
      [source_peer_id, target_peer_id]
        .filter((peer) => this.late.has(peer))
        .map((peer) => ({ peer, name: 'edge-ü', service_id: id, reason: 'Programming', message: 'still at it' }))
    )
    return { done: stragglers.length === 0, waited_ms: 7, stragglers, more: 0, unreachable: [] }
  }

  async waitForMembers(peer: string | null, { timeoutMs }: { timeoutMs: number }): Promise<WaitJson> {
    this.waits.push({ services: [], timeoutMs })
    const { id, name } = peer == null ? { id: null, name: 'everything' } : await this.getPeer(peer)
    const stragglers = [...this.late]
      .filter((one) => one !== id)
      .map((one) => ({
        peer: one,
        name: 'edge-ü',
        service_id: null,
        reason: 'NotConfirmed',
        message: `what of ${name}?`
      }))
    return { done: stragglers.length === 0, waited_ms: 7, stragglers, more: 0, unreachable: [] }
  }

  async testRoute(input: { source: string; dest: string; protocol?: string; interface?: string; trace?: boolean }) {
    const address = (field: string, text: string): Uint8Array => {
      const bytes = parseAddress(text)
      if (bytes == null) throw new InvalidRequestError(`${field} "${text}" is not an IP address`, { field })
      return bytes
    }
    const source = address('source', input.source)
    const dest = address('dest', input.dest)
    const covers = (cidr: string | null, ip: Uint8Array): boolean =>
      cidr == null || contains(parseCidr('cidr', cidr), ip)
    const candidates = [...this.routes.values()].map((route) => ({
      route,
      matches: covers(route.source_cidr, source) && covers(route.dest_cidr, dest)
    }))
    const winner = candidates
      .filter(({ matches }) => matches)
      .map(({ route }) => route)
      .sort((a, b) => b.priority - a.priority)[0]
    return {
      service_id: winner?.service_id ?? null,
      route_id: winner?.id ?? null,
      target_peer_id: winner == null ? null : this.#find(winner.service_id).target_peer_id,
      handler:
        winner == null ? ('none' as const) : input.protocol === 'udp' ? ('tempest' as const) : ('pegasus' as const),
      reason: winner == null ? 'no route matches' : 'the highest priority',
      ...(input.trace === true
        ? {
            change:
              winner == null
                ? null
                : { id: 'c0ffee'.repeat(10), author: EDGE_A, author_name: 'edge-a', at: this.#now() },
            candidates: candidates.map(({ route, matches }) => ({
              service_id: route.service_id,
              route_id: route.id,
              won: route === winner,
              rule: matches ? ('higher_priority' as const) : ('no_match' as const),
              reason: matches ? 'matches' : 'the addresses differ'
            }))
          }
        : {})
    }
  }

  activity: Operator['activity'] = (options) => this.#actors().activity(options)
  connections: Operator['connections'] = (options) => this.#actors().connections(options)
  actors: Operator['actors'] = (options) => this.#actors().tree(options)
  inspectActor: Operator['inspectActor'] = (path, options) => this.#actors().inspect(path, options)
  actorHistory: Operator['actorHistory'] = (path, options) => this.#actors().history(path, options)
  sendActor: Operator['sendActor'] = (path, event, options) => this.#actors().send(path, event, options)
  tellActor: Operator['tellActor'] = (path, event, options) => this.#actors().tell(path, event, options)
  watchActor: Operator['watchActor'] = (path, listener, options) => this.#actors().watch(path, listener, options)
  monitorActor: Operator['monitorActor'] = (path, onEnd, options) => this.#actors().monitor(path, onEnd, options)
  createToken = (input: TokenRequest, by: TokenJson | null): Promise<NewTokenJson> =>
    this.#tokenNouns().create(input, by)
  listTokens = async (): Promise<TokenJson[]> => this.#tokenNouns().list()
  revokeToken = (id: string): Promise<void> => this.#tokenNouns().revoke(id)
  authenticate = (text: string): TokenJson => this.#tokenNouns().authenticate(text)

  /** The product's own, over tokens in memory. */
  #tokenNouns(): TokenNouns {
    const replica = {
      view: () => ({ cluster: this.cluster, tokens: this.tokens }),
      createToken: async (input: TokenInput) => {
        const [id, secret] = [this.#id(), systemRandom.bytes(32)]
        const record = newToken(input, id, secret, this.#clock.now())
        this.tokens.set(id, record)
        this.emit('token.created', { id, via: viaNow() })
        return { record, text: formatToken(id, secret) }
      },
      revokeToken: async (id: string) => {
        if (!this.tokens.delete(id)) throw new TokenNotFoundError(id)
        this.emit('token.deleted', { id })
      }
    }
    return new TokenNouns({ replica, clock: this.#clock })
  }

  /** Those of edge-a hold its peers and services, those of edge-b are bare. */
  #actors(): ActorWindow {
    this.#memory ??= new MemoryActors(
      EDGE_A,
      EDGE_B,
      this.#clock,
      () => this.#view(),
      () => this.bytes
    )
    this.#memory.stand('peer', [EDGE_A, EDGE_B]).stand('service', this.services.keys())
    return this.#memory.window
  }

  /** Bytes that the first service has carried each way. */
  bytes = 0

  /** What the kernel of a peer's host tracks from now on; null when it does not show that. */
  track(peer: PeerId, flows: TrackedFlow[] | null): void {
    this.#actors()
    this.#memory?.tracked.set(peer, flows)
  }

  /** Open watches of actors. */
  get watches(): number {
    return this.#memory?.watches ?? 0
  }

  /** The service goes, and with it its actor. */
  endService(id: string): void {
    this.services.delete(id)
    this.#memory?.end('service', id)
  }

  #view(): View {
    const member = (id: PeerId, name: string): Member => ({
      id,
      name,
      role: 'admin',
      admittedBy: EDGE_A,
      admittedAt: this.#now(),
      record: null
    })
    return {
      revision: 1,
      cluster: this.cluster,
      members: new Map([member(EDGE_A, 'edge-a'), member(EDGE_B, 'edge-b')].map((one) => [one.id, one])),
      services: this.services,
      routes: this.routes,
      routesOf: new Map(),
      tokens: this.tokens,
      policy: this.policy,
      rejected: [],
      heads: []
    }
  }

  async ready(): Promise<{ ready: boolean; reasons: string[] }> {
    return this.cluster == null ? { ready: false, reasons: ['in no cluster'] } : { ready: true, reasons: [] }
  }

  /** What an agent would answer whose own care has failed: the report must not believe it. */
  diagnosed: Partial<DiagnosticsJson> = {}

  async diagnostics(): Promise<DiagnosticsJson> {
    const log = ['{"level":"info","module":"agent","message":"the agent is up"}']
    const bare = { at: this.#now(), versions: { arctic: '0.1.0' }, config: {}, log, traces: [], flight: [] }
    return { ...bare, ...this.diagnosed }
  }

  async metrics(): Promise<string> {
    return `# TYPE arctic_services gauge\narctic_services ${this.services.size}\n`
  }

  onEvent(listener: (event: OperatorEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(type: string, data: Record<string, unknown>): void {
    const [, kind, action] = /^(service|route)\.(created|updated|deleted)$/.exec(type) ?? []
    if (kind != null) this.#remember(kind as 'service', action as 'created', String(data['id']))
    for (const listener of this.#listeners) listener({ type, at: this.#now(), data })
  }

  #remember(kind: 'service' | 'route', action: 'created' | 'updated' | 'deleted', id: string): void {
    const { name = null } = this.services.get(id) ?? {}
    const fields: ChangeJson['objects'][number]['fields'] = {
      name: action === 'deleted' ? { before: 'gone' } : { after: name }
    }
    this.changes.push({
      id: this.changes.length.toString(16).padStart(64, '0'),
      at: this.#now(),
      author: EDGE_A,
      author_name: 'edge-a',
      via: viaNow(),
      kind: 'change',
      objects: [{ kind, id, name, action, fields }],
      verified: true,
      valid: true,
      reason: null
    })
  }

  get listeners(): number {
    return this.#listeners.size
  }

  #member(): { id: string; name: string } {
    if (this.cluster == null) throw new NotInClusterError()
    return this.cluster
  }

  #find(id: string): ServiceRecord {
    const service = this.services.get(id)
    if (service == null) throw new ServiceNotFoundError(id)
    return service
  }

  #route(service: string, id: string): RouteRecord {
    this.#find(service)
    const route = this.routes.get(id)
    if (route == null || route.service_id !== service) throw new RouteNotFoundError(id, service)
    return route
  }

  #checkName({ id, name }: ServiceRecord): void {
    for (const other of this.services.values()) {
      if (other.name === name && other.id !== id) throw new NameTakenError('service', name)
    }
  }

  #service(service: ServiceRecord): ServiceJson {
    return {
      ...service,
      status: {
        phase: 'pending',
        conditions: [
          {
            type: 'Active',
            status: false,
            reason: 'DataplaneDisabled',
            message: 'none here',
            since: service.created_at
          }
        ],
        effective_transport: null,
        interface: null,
        flows: 0,
        bytes_in: 1536,
        bytes_out: 0
      }
    }
  }

  #peers(): PeerJson[] {
    const peer = (id: PeerId, known: string, before: PeerJson['state']): PeerJson => {
      const told = this.told.get(id)
      const state = told?.revoked === true ? 'revoked' : before
      return {
        id,
        name: told?.name ?? known,
        state,
        role: told?.role ?? (state === 'admitted' ? 'member' : null),
        addresses: ['/ip4/192.0.2.1/tcp/7946', '/ip4/192.0.2.2/tcp/7946'],
        reachable: state === 'admitted',
        rtt_ms: 0.42,
        last_seen_at: this.#now(),
        version: '0.1.0',
        keys:
          state === 'admitted'
            ? {
                pegasus: Buffer.alloc(32, this.rotated.get(id) ?? 0).toString('base64'),
                tempest: Buffer.alloc(32, 9).toString('base64'),
                made_at: this.#now(),
                changing: this.rotated.has(id),
                in_force: [{ id: EDGE_A, name: 'edge-a' }],
                awaited: this.rotated.has(id) ? [{ id: EDGE_B, name: 'edge-b' }] : []
              }
            : null,
        departure:
          state === 'revoked'
            ? {
                how: 'revoked',
                by: EDGE_A,
                by_name: 'edge-a',
                at: this.#now(),
                confirmed_by: [{ id: EDGE_A, name: 'edge-a' }],
                awaited: [{ id: EDGE_C, name: 'edge-c' }]
              }
            : null,
        tunnels: []
      }
    }
    return [
      peer(EDGE_A, 'edge-a', 'admitted'),
      peer(EDGE_B, 'edge-b', 'admitted'),
      peer(EDGE_C, 'edge-c', 'discovered')
    ]
  }

  #id = (): string => newId(this.#clock, systemRandom)
  #now = (): string => isoTime(this.#clock.now())
}
