import type { AnyActorRef } from 'xstate'
import type { Clock, Timer } from '../../clock.ts'
import { bothSides, diff } from '../../crdt/diff.ts'
import type { PeerId, PeerRecord, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type {
  AppliedState,
  Dataplane,
  DataplaneEvent,
  DesiredState,
  ServiceCounters,
  TunnelCounters
} from '../../dataplane/desired.ts'
import type { Logger } from '../../log.ts'
import type { Mesh, PeerPresence, ServiceReport } from '../../mesh/mesh.ts'
import type { EventFeed } from '../event-feed.ts'
import { evaluateEveryMs } from '../limits.ts'
import type { KeyRingPort, KeySettings, ReplicaPort } from '../ports.ts'
import { parseAddress } from '../runtime/address.ts'
import { tunnelFact } from '../tunnel/fact.ts'
import { FlowLog } from '../flow-log.ts'
import { Counters } from './counters.ts'
import { Exclusions } from './exclusions.ts'
import { LiveActors } from './live-actors.ts'
import { OwnKeys } from './own-keys.ts'
import { OwnRecord } from './own-record.ts'
import { OwnSide } from './own-side.ts'
import { PeerSights } from './peer-sights.ts'
import { plan, type Population, type ServicePopulation } from './plan.ts'
import type { Reach } from './phase.ts'
import { servicePopulation } from './population.ts'
import { OwnReports } from './own-reports.ts'
import { failsAlone, Quarantine, suspectsOf, type Held } from './quarantine.ts'
import { Singletons } from './singletons.ts'
import { specIn } from './spec.ts'
import { StatusBook } from './status-book.ts'
import { Synced } from './synced.ts'
import { tellViewChanges } from './view-events.ts'

export interface ReconcilerOptions {
  replica: ReplicaPort
  mesh: Mesh
  dataplane: Dataplane
  clock: Clock
  log: Logger
  feed: EventFeed
  /** What this process would say of itself now. */
  selfRecord: () => PeerRecord
  /** Left out: keys are never changed. */
  keys?: { ring: KeyRingPort; settings: () => KeySettings }
}

/**
 * Holds this host against the replicated state. Every external event (view, presence, report, applied, engine, counter)
 * only marks what it touches; then one `evaluate()` restores all of these:
 *
 * 1. netmgr was told `desiredFor(self, view)`.
 * 2. This peer's record in the view says what this process is.
 * 3. What the mesh may ask of us is `reportFor` of the last applied state, the engines and the target's reachability.
 * 4. Every touched service's status is `phaseOf` what is seen now.
 * 5. The actors that live are those that this host's side of the view wants (`own-side.ts`); a deleted service's actor lives until the host let go of it.
 * 6. Every actor knows the newest fact about it, routes a moment later that their service awaits something, and the feed has told each change once.
 * 7. One timer stands for the next moment at which time alone would change any of this.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions
  readonly #singletons: Singletons
  readonly live: LiveActors
  readonly statuses: StatusBook
  readonly counters: Counters
  readonly flows = new FlowLog()
  readonly reports: OwnReports
  readonly synced: Synced
  readonly exclusions = new Exclusions()
  readonly quarantine = new Quarantine()
  readonly #peers: PeerSights
  readonly #ownRecord: OwnRecord
  readonly keys: OwnKeys | null
  /** The view that the last evaluation saw. */
  #view: View | null = null
  readonly #own: OwnSide
  #applied: AppliedState | null = null
  readonly #onEvaluated = new Set<() => void>()
  readonly #dirtyServices = new Set<ServiceId>()
  readonly #dirtyPeers = new Set<PeerId>()
  /** Services whose actors may not be what the view wants, and whether the same is true of peers and tunnels. */
  readonly #unplanned = new Set<ServiceId>()
  #peersUnplanned = true
  #requested: 'no' | 'soon' = 'no'
  #evaluatedAt = -Infinity
  #soon: Timer | null = null
  #deadline: Timer | null = null
  #stopped = false

  constructor(options: ReconcilerOptions, agent: AnyActorRef) {
    const { mesh, dataplane, clock, log, replica } = options
    this.#options = options
    this.#singletons = new Singletons(agent, dataplane)
    this.#peers = new PeerSights(mesh, clock)
    this.keys = options.keys == null ? null : this.#ownKeys(options.keys)
    this.#ownRecord = new OwnRecord({
      replica,
      clock,
      log,
      self: mesh.self,
      selfRecord: options.selfRecord,
      keysInForce: () => this.keys?.inForce() ?? true
    })
    this.synced = new Synced(mesh, clock)
    this.#own = new OwnSide(mesh.self)
    this.reports = new OwnReports({ mesh, dataplane, own: this.#own, reach: this.reach, now: () => clock.now() })
    this.statuses = new StatusBook({
      reach: this.reach,
      report: (peer, service) => this.reportOf(peer, service),
      fresh: (peer) => this.#isFresh(peer),
      now: () => clock.now()
    })
    this.counters = new Counters({
      dataplane,
      clock,
      log,
      needed: () => this.reports.size > 0 && dataplane.mode === 'kernel',
      onServices: (counters) => this.#onCounters(counters),
      onTunnels: (tunnels) => this.#onTunnels(tunnels)
    })
    this.live = new LiveActors({
      agent,
      self: mesh.self,
      log: log.module('actors'),
      roleIn: (id) => (replica.view().services.get(id)?.source_peer_id === mesh.self ? 'source' : 'target'),
      onReset: (address) => this.#onReset(address)
    })
  }

  start(): void {
    this.counters.start()
    this.keys?.start()
    this.#ownRecord.start()
    this.#singletons.tellEngines()
    this.#tellKeys()
    this.flush()
  }

  /** From now on nothing is told to anybody. */
  stop(): void {
    this.#stopped = true
    this.#soon?.cancel()
    this.#deadline?.cancel()
    this.counters.stop()
    this.keys?.stop()
    this.#ownRecord.stop()
  }

  #ownKeys(keys: NonNullable<ReconcilerOptions['keys']>): OwnKeys {
    const { mesh, dataplane, clock, log, replica } = this.#options
    return new OwnKeys({
      ...keys,
      dataplane,
      clock,
      log,
      self: mesh.self,
      shared: () => this.#own.partners(),
      hasInForce: (peer, id) => {
        const service = replica.view().services.get(id)
        return service != null && this.reportOf(peer, id)?.spec === specIn(replica.view(), service)
      },
      onChange: () => {
        this.#ownRecord.changed()
        this.#tellKeys()
        this.request()
      }
    })
  }

  /** Called after each evaluation: what was waited for may be so now. Returns how to stop it. */
  onEvaluated(listener: () => void): () => void {
    this.#onEvaluated.add(listener)
    return () => void this.#onEvaluated.delete(listener)
  }

  get applied(): AppliedState | null {
    return this.#applied
  }

  get desired(): DesiredState | null {
    return this.#own.desired
  }

  reach = (peer: PeerId): Reach => this.#peers.reachability.of(peer)

  /** The newest report of an endpoint about a service: our own as it is, others' as last fetched. */
  reportOf(peer: PeerId, service: ServiceId): ServiceReport | null {
    const { mesh } = this.#options
    if (peer === mesh.self) return this.reports.get(service)
    return mesh.report(peer).get(service) ?? null
  }

  /** Peers that share a service with this one tell it every change by themselves. */
  isTold = (peer: PeerId): boolean => peer === this.#options.mesh.self || this.live.population().tunnels.has(peer)

  /** Of others what they say is right when they were asked. */
  #isFresh(peer: PeerId): boolean {
    return this.isTold(peer) || this.#peers.askedLately(peer)
  }

  // External events: each marks what it touches and asks for an evaluation.

  onView(): void {
    this.request()
  }

  onPresence(presence: PeerPresence): void {
    this.exclusions.heard(presence.id, presence.heads)
    // Most presence is a new head or a round-trip time, which no status depends on.
    if (this.#peers.moved(presence.id)) this.#dirtyPeers.add(presence.id)
    if (!this.live.population().peers.has(presence.id)) this.#peersUnplanned = true
    this.request()
  }

  /** A peer has answered for its services just now; what it said is good for a while, and so is what it did not say. */
  onAsked(peer: PeerId): void {
    // Of a partner every word is fresh; of another, its silence means something only now.
    if (!this.#isFresh(peer)) this.#dirtyPeers.add(peer)
    this.#peers.asked(peer)
    this.request()
  }

  /** `news`: the services about which it says something else now; without it, that is found out here. */
  onReport(peer: PeerId, news: readonly ServiceId[] = this.#peers.news(peer)): void {
    for (const id of news) this.#dirtyServices.add(id)
    if (news.length > 0) this.request()
  }

  onApplied(applied: AppliedState, desired: DesiredState | null): void {
    this.#applied = applied
    this.reports.onApplied(applied, desired)
    this.request()
  }

  onDataplane(event: DataplaneEvent): void {
    const { feed, log } = this.#options
    if (event.type === 'applied') {
      this.onApplied(event.applied, null)
      return
    }
    if (event.type === 'flow.closed') {
      this.flows.add(event.flow, this.#options.clock.now())
      feed.emit('flow.closed', event.flow)
      return
    }
    const { type, ...data } = event
    feed.emit(type, data)
    if (event.type === 'kernel.repaired') return
    if (event.type === 'engine.exited') log.warn(data, 'an engine has ended')
    this.#singletons.tellEngine(event.engine, { type: event.type })
    this.request()
  }

  /**
   * Evaluates soon, together with what else comes in a few ms; when nothing was evaluated lately, as soon as others have
   * been told of what has happened here.
   */
  request(): void {
    if (this.#requested === 'soon' || this.#stopped) return
    this.#requested = 'soon'
    const idleMs = this.#options.clock.monotonic() - this.#evaluatedAt
    this.#soon = this.#options.clock.after(Math.max(0, evaluateEveryMs - idleMs), () => this.#run())
  }

  /** Evaluates now, so that an answer shows what was just written. */
  flush(): void {
    this.#soon?.cancel()
    this.#requested = 'soon'
    this.#run()
  }

  #run(): void {
    if (this.#requested === 'no' || this.#stopped) return
    this.#requested = 'no'
    this.#evaluatedAt = this.#options.clock.monotonic()
    const before = this.#view
    const error = this.#try(before)
    if (error === FINE) return
    // A bug; the next event tries again, and the data plane goes on with what it was told last.
    this.#options.log.error({ error }, 'the evaluation failed')
    this.#leaveOut(before, error)
  }

  /** Evaluates; what was thrown, or FINE. */
  #try(before: View | null): unknown {
    try {
      this.#evaluate()
      return FINE
    } catch (error) {
      this.#view = before
      return error
    }
  }

  /**
   * Finds what of the newest changes this agent fails on, and goes on without it: what fails by itself, else whatever of
   * the change does harm. At the start everything is new, and to go on without it would take down what is at work.
   */
  #leaveOut(before: View | null, error: unknown): void {
    const { quarantine } = this
    const { replica, log } = this.#options
    const view = quarantine.shown(replica.view())
    const all = suspectsOf(before, view, error)
    const alone = all.filter((held) => failsAlone(view, held))
    if (!this.#evaluatesWithout(alone, before)) {
      if (before == null || !this.#evaluatesWithout(all, before)) return
      for (const held of all) {
        quarantine.release([held])
        if (this.#try(this.#view) !== FINE) quarantine.hold([held])
      }
      this.#try(this.#view)
    }
    for (const { kind, id, error: why } of all.filter((held) => quarantine.find(held.kind, held.id) != null)) {
      log.error({ kind, id, error: why }, 'this agent fails on a record and leaves it out until it changes')
    }
  }

  #evaluatesWithout(suspects: Held[], before: View | null): boolean {
    if (suspects.length === 0) return false
    this.quarantine.hold(suspects)
    if (this.#try(before) === FINE) return true
    this.quarantine.release(suspects)
    return false
  }

  #evaluate(): void {
    const { replica, clock } = this.#options
    const view = this.quarantine.shown(replica.view())
    const before = this.#view
    this.#view = view
    for (const id of this.statuses.due(clock.now())) this.#dirtyServices.add(id)
    for (const peer of this.#peers.reachability.due(clock.monotonic())) this.#dirtyPeers.add(peer)
    if (view !== before) this.#viewChanged(view, before)
    this.#markServicesOfDirtyPeers(view)
    this.synced.look(view)
    this.keys?.look(view)
    for (const id of this.reports.refresh(this.counters.services)) this.#dirtyServices.add(id)
    this.#updateStatuses(view)
    this.#populate(view)
    this.#tellServices()
    this.#tellPeers(view)
    this.#schedule()
    for (const listener of this.#onEvaluated) listener()
  }

  #viewChanged(view: View, before: View | null): void {
    const { feed } = this.#options
    const changes = diff(before ?? { ...view, members: new Map(), services: new Map(), routes: new Map() }, view)
    for (const service of [...changes.services.added, ...changes.services.removed]) this.#dirtyServices.add(service.id)
    for (const { id } of changes.services.changed) this.#dirtyServices.add(id)
    for (const route of [...changes.routes.added, ...changes.routes.removed]) this.#dirtyServices.add(route.service_id)
    for (const route of changes.routes.changed.flatMap(bothSides)) this.#dirtyServices.add(route.service_id)
    for (const member of [...changes.members.added, ...changes.members.removed]) this.#dirtyPeers.add(member.id)
    for (const { id } of changes.members.changed) this.#dirtyPeers.add(id)
    this.exclusions.seen(view, (peer) => this.#options.mesh.peer(peer)?.heads ?? null)
    if (before != null) tellViewChanges(feed, before, view, changes)
    this.#ownRecord.look(view)
    const told = this.#own.desired
    const touched = this.#own.update(view, changes)
    for (const id of touched) {
      this.#unplanned.add(id)
      this.reports.touch(id)
    }
    if (touched.size > 0 || view.members !== before?.members) this.#peersUnplanned = true
    if (this.#own.desired !== told && this.#own.desired != null) this.#singletons.tellNetmgr(this.#own.desired)
  }

  #markServicesOfDirtyPeers(view: View): void {
    if (this.#dirtyPeers.size === 0) return
    for (const service of view.services.values()) {
      if (this.#dirtyPeers.has(service.source_peer_id) || this.#dirtyPeers.has(service.target_peer_id)) {
        this.#dirtyServices.add(service.id)
        this.reports.touch(service.id)
      }
    }
  }

  #updateStatuses(view: View): void {
    const { feed } = this.#options
    for (const id of this.#dirtyServices) {
      const before = this.statuses.get(id)
      const held = this.quarantine.find('services', id)
      const status = held == null ? this.statuses.compute(view, id) : this.statuses.leftOut(id, held.error)
      if (status == null || (before?.phase === status.phase && before.reason === status.reason)) continue
      feed.emit('service.status', { id, phase: status.phase, reason: status.reason, message: status.message })
    }
  }

  #populate(view: View): void {
    if (this.#peersUnplanned || this.#unplanned.size > 0) {
      for (const step of plan(...this.#populations(view))) {
        this.live.run(step)
        if (step.type === 'peer.start') this.#dirtyPeers.add(step.id)
        if (step.type === 'peer.stop') {
          this.#peers.forget(step.id)
          this.#dirtyPeers.delete(step.id)
        }
        if ('service' in step) this.#dirtyServices.add(step.service)
      }
      this.#peersUnplanned = false
      this.#unplanned.clear()
    }
    for (const id of this.live.deleting()) if (this.#letGo(id)) this.live.removed(id)
  }

  /** The actors that live and those that should, of services only the ones that may differ. */
  #populations(view: View): [actual: Population, wanted: Population] {
    const live = this.live.population()
    const actual = new Map<ServiceId, ServicePopulation>()
    const wanted = new Map<ServiceId, ServicePopulation>()
    for (const id of this.#unplanned) {
      const [lives, service] = [live.services.get(id), view.services.get(id)]
      if (lives != null) actual.set(id, lives)
      if (service != null && this.#own.sideOf(id) != null) wanted.set(id, servicePopulation(view, service))
    }
    const tunnels = new Set(this.#own.others().keys())
    const peers = new Set([...this.#options.mesh.peers().map(({ id }) => id), ...view.members.keys()])
    return [
      { ...live, services: actual },
      { peers, services: wanted, tunnels }
    ]
  }

  #tellServices(): void {
    const now = this.#options.clock.monotonic()
    for (const id of this.#dirtyServices) {
      const status = this.statuses.get(id)
      if (status != null && this.live.population().services.has(id)) this.live.tellService(id, status, now)
    }
    this.#dirtyServices.clear()
    this.live.tellRoutes(now)
  }

  /** Whether the host was told of a state without the service, and has taken it. */
  #letGo(id: ServiceId): boolean {
    return this.#applied != null && this.#applied.failure == null && !this.#applied.services.has(id)
  }

  #tellPeers(view: View): void {
    const { mesh, feed } = this.#options
    for (const id of this.#dirtyPeers) {
      const member = view.members.get(id)
      const { reach, moved } = this.#peers.looked(id)
      if (moved && reach !== 'connecting' && id !== mesh.self)
        feed.emit(`peer.${reach}`, { id, name: member?.name ?? null })
      const facts: Array<{ type: string; name?: string }> = [
        { type: reach === 'reachable' ? 'peer.reached' : 'peer.lost' }
      ]
      if (member != null) facts.unshift({ type: 'peer.admitted', name: member.name })
      else if (mesh.peer(id)?.state === 'revoked') facts.unshift({ type: 'peer.revoked' })
      this.live.tellPeer(id, facts)
    }
    this.#dirtyPeers.clear()
  }

  #schedule(): void {
    const { clock } = this.#options
    this.#deadline?.cancel()
    this.#deadline = null
    const waits = [
      msUntil(this.statuses.nextDeadline(), clock.now()),
      msUntil(this.#peers.reachability.nextDeadline(), clock.monotonic()),
      msUntil(this.synced.nextDeadline(), clock.monotonic()),
      msUntil(this.live.routesDue(), clock.monotonic())
    ].filter((ms) => ms != null)
    if (waits.length > 0) this.#deadline = clock.after(Math.max(1, Math.ceil(Math.min(...waits))), () => this.request())
  }

  #onCounters(counters: ReadonlyMap<ServiceId, ServiceCounters>): void {
    if (this.#stopped || this.#view == null) return
    this.reports.count(counters)
  }

  #onTunnels(tunnels: readonly TunnelCounters[]): void {
    if (this.#stopped) return
    for (const tunnel of tunnels) {
      const fact = tunnelFact(tunnel, this.#options.clock.now())
      if (fact != null) this.live.tellTunnel(tunnel.peer, fact)
    }
  }

  /** An actor was started again after a failure: it gets to know what it has missed. */
  #onReset(address: string): void {
    const { kind, name } = parseAddress(address) ?? { kind: '', name: null }
    if (kind === 'peer' && name != null) this.#dirtyPeers.add(name)
    if (kind === 'service' && name != null) {
      this.#dirtyServices.add(name)
      this.#unplanned.add(name)
    }
    if (kind === 'netmgr' && this.desired != null) this.#singletons.tellNetmgr(this.desired)
    this.#singletons.tellEngines()
    this.#tellKeys()
    this.request()
  }

  #tellKeys(): void {
    this.#singletons.tellKeys(this.#options.keys?.ring.before != null)
  }
}

const msUntil = (at: number | null, now: number): number | null => (at == null ? null : at - now)

/** An evaluation that threw nothing; whatever is thrown is something else. */
const FINE = Symbol('fine')
