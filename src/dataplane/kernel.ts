import type { Clock } from '../clock.ts'
import type { PeerId, ServiceId } from '../crdt/schema.ts'
import { UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { logFlow } from './access-log.ts'
import { checkHost } from './checks.ts'
import { trackedFlows, type TrackedFlows } from './conntrack.ts'
import { CutOff } from './cut-off.ts'
import { checkDataPort } from './data-port.ts'
import type {
  AppliedFailure,
  AppliedService,
  AppliedState,
  Dataplane,
  DataplaneEvent,
  DesiredState,
  EngineStatus,
  HostKeys,
  FlowsQuery,
  OpenFlow,
  ServiceCounters,
  TunnelCounters
} from './desired.ts'
import type { EngineEvent, EngineName } from './engine-protocol.ts'
import { Engines, portsOf } from './engines.ts'
import type { HostFacts } from './interfaces.ts'
import { troublesOf } from './macvlan-trouble.ts'
import { reapplyRetryMs } from './limits.ts'
import { lockHost, type HostLock } from './host-lock.ts'
import { createMarks, type MarkOptions, type Marks } from './marks.ts'
import { NetManager } from './netmgr.ts'
import { AppliedMemory, type ApplyOutcome } from './outcome.ts'
import {
  flowRecord,
  GENERAL_LISTENER,
  joinFlows,
  openFlows,
  PegasusMemory,
  pegasusState,
  type LostReturnPath,
  type PegasusFlows,
  type PegasusStats
} from './pegasus.ts'
import { PlanMemory } from './plan-memory.ts'
import { previewRules, type RulePreview } from './preview.ts'
import { onlyTakesAway, planDevices, planSteering, type SteeringPlan } from './plan.ts'
import { counterName } from './ruleset.ts'
import { Serial } from './serial.ts'
import { tempestState, tunnelCounters, type TempestStats } from './tempest.ts'
import { readForwarding } from './sysctl.ts'
import { watchKernel, type KernelWatch, type Part } from './watch.ts'

export interface KernelDataplaneOptions {
  /** That the host has what is needed, when somebody is looking already. */
  checked?: Promise<void>
  stateDir: string
  /** `HOST:PORT` of Pegasus (TCP) and Tempest (UDP). */
  dataListen: string
  /** Default true. */
  kcpCongestionControl?: boolean
  /** X25519 private keys, base64, until `setKeys` says otherwise. */
  privateKeys: Record<EngineName, string>
  log: Logger
  clock: Clock
  random: Random
  marks?: Partial<MarkOptions>
  /** Where `pegasus` and `tempest` are; the checkout's release build when not given. */
  enginesDir?: string
  /** Parent of MACVLAN devices; the interface of the address' network or of the default route when not given. */
  macvlanParent?: string
}

const STOPPED: AppliedFailure = { reason: 'Stopped', message: 'the agent is stopping' }

const NOTHING: DesiredState = { self: '', peers: [], outbound: [], inbound: [], endpoints: [] }

/**
 * The real data plane. One apply brings the host from anything to a desired state, in an order in which no packet meets
 * half of it:
 *
 * 1. read the host; decide devices and indexes (`plan.ts`)
 * 2. make missing devices, then tables and rules: nothing is marked for them yet
 * 3. when the change only takes away: the ruleset, so that nothing new reaches what the engines will drop
 * 4. the engines' states; they answer with their listeners' ports
 * 5. the ruleset (unless 3 did and no port moved)
 * 6. drop rules, tables and devices that nobody wants any more
 *
 * Invariant: applies, repairs and stop run one at a time, and each reads the newest desired state.
 */
export class KernelDataplane implements Dataplane {
  readonly mode = 'kernel'
  readonly #options: KernelDataplaneOptions
  readonly #log: Logger
  readonly #flowLog: Logger
  readonly #marks: Marks
  readonly #net: NetManager
  readonly #engines: Engines
  readonly #serial = new Serial()
  readonly #cutOff = new CutOff()
  readonly #planMemory = new PlanMemory()
  readonly #pegasusMemory = new PegasusMemory()
  readonly #appliedMemory = new AppliedMemory()
  readonly #listeners = new Set<(event: DataplaneEvent) => void>()
  #desired: DesiredState | null = null
  #keys: HostKeys
  /** What was applied last; null when nobody knows what is in force. */
  #appliedState: DesiredState | null = null
  #indexes = new Map<PeerId, number>()
  #ports: ReadonlyMap<string, number> = new Map()
  #steering: SteeringPlan | null = null
  /** How the last apply went, for what is found out between two of them. */
  #outcome: { generation: number; desired: DesiredState; outcome: ApplyOutcome } | null = null
  #waiting: Promise<AppliedState> | null = null
  #watch: KernelWatch | null = null
  #running = false
  #stopped = false
  /** Null until `start` has it: without it nothing of this host is ours to touch, not even to clean up. */
  #lock: HostLock | null = null

  constructor(options: KernelDataplaneOptions) {
    this.#options = options
    this.#log = options.log.module('dataplane')
    this.#flowLog = options.log.module('pegasus')
    this.#keys = { newest: options.privateKeys, before: null, known: new Set() }
    this.#marks = createMarks(options.marks)
    this.#net = new NetManager({
      marks: this.#marks,
      log: options.log,
      clock: options.clock,
      isWatched: () => this.#watch?.isListening() === true
    })
    this.#engines = new Engines({
      ...options,
      emit: (event) => this.#emit(event),
      onEngineEvent: (engine, event) => this.#onEngineEvent(engine, event),
      onReady: (engine) => this.#onReady(engine)
    })
  }

  /** @throws {UnavailableError} naming the capability, program or kernel feature that is missing */
  async start(): Promise<void> {
    await (this.#options.checked ?? checkHost())
    this.#lock = await lockHost(this.#options.stateDir, this.#options.clock)
    await this.#engines.start()
    await this.#checkPorts()
    const saved = await this.#engines.savedConfig('tempest')
    this.#indexes = new Map(Object.entries((saved?.['indexes'] ?? {}) as Record<string, number>))
    this.#ports = portsOf(this.#engines.pegasus.client?.hello.listeners)
    this.#running = true
  }

  /** What was there before the first apply is none of its business, and it looks at everything once when it listens. */
  #beginWatch(): void {
    if (!this.#running || this.#watch != null) return
    this.#watch = watchKernel({
      marks: this.#marks,
      clock: this.#options.clock,
      log: this.#options.log.module('netmgr'),
      onChange: (part) => this.#net.changed(part),
      onDisturbance: (parts) => this.#serial.run(() => this.#repair(parts))
    })
  }

  /** Each engine's data ports, unless the engine was adopted: then it is at work there. */
  async #checkPorts(): Promise<void> {
    const { pegasus, tempest } = this.#engines
    const { dataListen } = this.#options
    // Adopted, or it will have them from the one before it.
    if (pegasus.client?.hello.generation == null && pegasus.status.draining.length === 0) {
      await checkDataPort(dataListen, 'tcp')
      await checkDataPort(dataListen, 'udp', { above: 1 })
    }
    if (tempest.client?.hello.generation == null) await checkDataPort(dataListen, 'udp')
  }

  apply(desired: DesiredState): Promise<AppliedState> {
    this.#desired = desired
    return this.#applyNewest()
  }

  async setKeys(keys: HostKeys): Promise<boolean> {
    this.#keys = keys
    // Whoever is told a state is told the keys with it.
    if (!this.#running || this.#desired == null) return true
    return (await this.#applyNewest()).failure == null
  }

  host = (): HostFacts | null => this.#net.networks

  preview(desired: DesiredState): RulePreview | null {
    const facts = this.host()
    if (facts == null || this.#desired == null) return null
    const parent = this.#options.macvlanParent ?? null
    const host = { facts, marks: this.#marks, indexes: this.#indexes, ports: this.#ports, parent }
    return previewRules(this.#desired, desired, host)
  }

  engines = (): EngineStatus[] => this.#engines.status()

  async counters(): Promise<ReadonlyMap<ServiceId, ServiceCounters>> {
    const { client, clients } = this.#engines.pegasus
    const [kernel, ...answers] = await Promise.all([
      this.#net.counters(),
      ...clients.map((engine) => engine.stats<PegasusStats>().catch(() => null))
    ])
    const pegasus = answers.filter((stats) => stats != null)
    const { outbound, inbound } = this.#desired ?? NOTHING
    const counters = new Map<ServiceId, ServiceCounters>()
    for (const { id } of [...outbound, ...inbound]) {
      const bytes = (direction: 'in' | 'out'): number => kernel.get(counterName(direction, id))?.bytes ?? 0
      counters.set(id, { flows: 0, bytesIn: bytes('in'), bytesOut: bytes('out') })
    }
    const atWork = clients[0] === client ? answers[0] : null
    if (atWork != null) this.#seeWays(atWork)
    for (const stats of pegasus.flatMap(({ services }) => services)) {
      const service = counters.get(stats.service_id)
      if (service == null) continue
      service.flows += stats.flows
      service.bytesIn += stats.bytes_in
      service.bytesOut += stats.bytes_out
    }
    return counters
  }

  async tunnels(): Promise<TunnelCounters[]> {
    const stats = await this.#engines.tempest.client?.stats<TempestStats>().catch(() => null)
    return stats == null ? [] : tunnelCounters(stats)
  }

  async flows(service: ServiceId, { sort, limit }: FlowsQuery): Promise<OpenFlow[]> {
    const { client, clients } = this.#engines.pegasus
    if (client == null) throw new UnavailableError('pegasus is not running; it is being started again')
    try {
      const lists = clients.map((engine) => engine.flows<PegasusFlows>({ service_id: service, sort, limit }))
      return joinFlows((await Promise.all(lists)).map(openFlows), { sort, limit })
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error)
      throw new UnavailableError(`pegasus does not tell its flows: ${said}; try again`, {}, { cause: error })
    }
  }

  async tracked(): Promise<TrackedFlows> {
    const host = this.host()
    if (host == null) throw new UnavailableError('the agent has not looked at its host yet; ask again in a moment')
    return trackedFlows({ host, marks: this.#marks, desired: this.#desired ?? NOTHING })
  }

  onEvent(listener: (event: DataplaneEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async stop({ mode, drainMs }: { mode: 'remove' | 'keep'; drainMs: number }): Promise<void> {
    this.#running = false
    this.#stopped = true
    if (this.#lock == null) return
    const unwatched = this.#watch?.end()
    this.#watch = null
    await this.#serial.run(async () => {
      if (mode === 'keep') {
        await this.#engines.leave()
        return
      }
      // Whatever fails on the way, what is ours leaves the kernel.
      await this.#stopTaking().catch((error: unknown) =>
        this.#log.warn({ error: String(error) }, 'cannot drain, stopping at once')
      )
      await this.#engines.end(drainMs)
      await this.#net.removeAll()
    })
    await Promise.all([unwatched, this.#net.close()])
    await this.#lock.release()
    this.#lock = null
  }

  /** Joins a waiting apply, which will read the newest state anyway, or queues one. */
  #applyNewest(): Promise<AppliedState> {
    this.#waiting ??= this.#serial.run(() => {
      this.#waiting = null
      return this.#applyNow(this.#desired ?? NOTHING)
    })
    return this.#waiting
  }

  async #applyNow(desired: DesiredState): Promise<AppliedState> {
    const generation = this.#engines.nextGeneration()
    // What waited behind the end must not put anything back into the kernel.
    if (this.#stopped) return { generation, services: new Map(), failure: STOPPED }
    let applied: AppliedState
    try {
      applied = { generation, services: await this.#steps(desired, generation), failure: null }
    } catch (error) {
      this.#outcome = null
      const failure: AppliedFailure = {
        reason: 'KernelRefused',
        message: error instanceof Error ? error.message : String(error)
      }
      this.#log.error({ generation, error: failure.message }, 'the host could not be brought to the desired state')
      this.#appliedState = null
      const services = new Map<ServiceId, AppliedService>()
      for (const { id, spec } of [...desired.outbound, ...desired.inbound]) {
        services.set(id, { spec, failure, warnings: [], effectiveTransport: null, interface: null })
      }
      applied = { generation, services, failure }
      this.#retryLater(desired)
    }
    this.#beginWatch()
    this.#emit({ type: 'applied', applied })
    return applied
  }

  async #steps(desired: DesiredState, generation: number): Promise<AppliedState['services']> {
    const marks = this.#marks
    const began = this.#options.clock.monotonic()
    const before = await this.#net.facts()
    const parent = this.#options.macvlanParent ?? null
    const memory = this.#planMemory
    const plan = planDevices(desired, { known: this.#indexes, facts: before, marks, parent, memory })
    this.#indexes = plan.indexes

    const { failures: deviceFailures, changed } = await this.#net.makeDevices(plan.devices, before)
    const facts = changed ? await this.#net.facts() : before
    const steering = planSteering(desired, {
      plan,
      failedDevices: new Set(deviceFailures.keys()),
      facts,
      marks,
      memory
    })
    this.#steering = steering
    const tunnels = [...steering.tunnelDevices].map(([peer, device]) => ({
      index: plan.indexes.get(peer) ?? 0,
      device: deviceFailures.has(device) ? null : device
    }))
    const { prune } = await this.#net.makePolicy(tunnels, [...steering.serviceDevices.values()])

    if (onlyTakesAway(this.#appliedState, desired)) await this.#loadRuleset(steering)

    const engineErrors = await this.#tellEngines(desired, generation, steering, deviceFailures)
    await this.#loadRuleset(steering)
    await prune()
    await this.#net.dropStaleDevices(facts)
    this.#appliedState = desired

    const forwarding = await readForwarding(facts.links.map(({ ifname }) => ifname))
    const planned = plan.failures
    const parentTroubles = await troublesOf(plan.devices)
    const returnPaths = this.#outcome?.outcome.returnPaths ?? new Map<ServiceId, LostReturnPath>()
    const cutOff = this.#cutOff.peers
    const outcome = { planned, deviceFailures, engineErrors, facts, forwarding, parentTroubles, returnPaths, cutOff }
    this.#outcome = { generation, desired, outcome }
    const services = this.#appliedMemory.services(desired, outcome)
    const ms = Math.round(this.#options.clock.monotonic() - began)
    this.#log.debug({ generation, services: services.size, ms }, 'applied')
    return services
  }

  async #tellEngines(
    desired: DesiredState,
    generation: number,
    steering: SteeringPlan,
    deviceFailures: ReadonlyMap<string, Error>
  ): Promise<{ engine: EngineName; error: { object: string; code: string; message: string } }[]> {
    const keys = this.#keys
    const common = { dataListen: this.#options.dataListen, bypassMark: this.#marks.bypass, keys }
    const made = new Map([...steering.tunnelDevices].filter(([, device]) => !deviceFailures.has(device)))
    const devices = steering.serviceDevices
    const [pegasus, tempest] = await Promise.all([
      this.#engines.applyPegasus(
        keys,
        generation,
        pegasusState(desired, {
          ...common,
          kcpCongestionControl: this.#options.kcpCongestionControl ?? true,
          table: steering.table,
          devices,
          ports: this.#ports,
          memory: this.#pegasusMemory
        })
      ),
      this.#engines.applyTempest(
        keys,
        generation,
        tempestState(desired, { ...common, devices: made }),
        Object.fromEntries(this.#indexes)
      )
    ])
    this.#ports = pegasus.ports
    return [
      ...pegasus.errors.map((error) => ({ engine: 'pegasus' as const, error })),
      ...tempest.errors.map((error) => ({ engine: 'tempest' as const, error }))
    ]
  }

  #loadRuleset(plan: SteeringPlan): Promise<void> {
    const steering = plan.steering(this.#ports, GENERAL_LISTENER)
    return this.#net.loadRuleset(steering)
  }

  /** Open flows keep what they need of the ruleset, nothing new is taken. */
  async #stopTaking(): Promise<void> {
    if (this.#steering == null) return
    const steering = this.#steering.steering(this.#ports, GENERAL_LISTENER)
    await this.#net.loadRuleset({ ...steering, draining: true })
  }

  async #repair(parts: ReadonlySet<Part>): Promise<void> {
    if (!this.#running || this.#desired == null) return
    let deviceBack = false
    const { networksChanged, deviceLost } = await this.#net.repair(parts, (what) => {
      deviceBack ||= what.startsWith('device')
      this.#options.log.module('netmgr').warn({ what }, 'vanished from the kernel by another hand, put back')
      this.#emit({ type: 'kernel.repaired', what })
    })
    if (networksChanged || deviceBack || deviceLost) void this.#applyNewest()
  }

  /** Pegasus finds out by its flows and carriers; what is in force has not changed, only what is to be said of it. */
  #seeWays({ services, peers }: PegasusStats): void {
    const last = this.#outcome
    if (last == null) return
    const lost = services.flatMap(({ service_id, return_path_lost: path }) =>
      path == null ? [] : [[service_id, path] as const]
    )
    const known = last.outcome.returnPaths
    const pathsAreSame =
      lost.length === known.size && lost.every(([id, { destination }]) => known.get(id)?.destination === destination)
    const cutOffChanged = this.#cutOff.see(peers, this.#options.clock.monotonic())
    if (pathsAreSame && !cutOffChanged) return
    last.outcome = { ...last.outcome, returnPaths: new Map(lost), cutOff: this.#cutOff.peers }
    const { generation, desired, outcome } = last
    this.#emit({
      type: 'applied',
      applied: { generation, services: this.#appliedMemory.services(desired, outcome), failure: null }
    })
  }

  #onReady(engine: EngineName): void {
    if (this.#running && this.#desired != null) {
      this.#log.info({ engine }, 'engine is back, telling it its state')
      void this.#applyNewest()
    }
  }

  #retryLater(failed: DesiredState): void {
    this.#options.clock.after(reapplyRetryMs, () => {
      if (this.#running && this.#desired === failed) void this.#applyNewest()
    })
  }

  #onEngineEvent(engine: EngineName, event: EngineEvent): void {
    if (event.event === 'flow') {
      const flow = flowRecord(event)
      logFlow(this.#flowLog, flow)
      this.#emit({ type: 'flow.closed', flow })
      return
    }
    const { type: _, event: name, ...fields } = event
    const log = this.#options.log.module(engine)
    if (name === 'refused' || fields['state'] === 'down') log.warn(fields, name)
    else log.info(fields, name)
  }

  #emit(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
