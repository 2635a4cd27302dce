import type { Clock, Timer } from '../../src/clock.ts'
import type {
  AppliedService,
  AppliedState,
  Dataplane,
  DataplaneEvent,
  DesiredState,
  EngineStatus,
  ServiceCounters,
  TunnelCounters
} from '../../src/dataplane/desired.ts'
import { reapplyRetryMs } from '../../src/dataplane/limits.ts'
import { appliedServices } from '../../src/dataplane/outcome.ts'
import { Serial } from '../../src/dataplane/serial.ts'
import { applyMaxMs, applyMinMs, engineBackMaxMs, engineBackMinMs } from '../limits.ts'
import type { SeededRandom } from '../random.ts'
import type { EngineName, SimKernel } from './kernel.ts'

/** The data plane of one agent's life over a simulated kernel: same promises as the real one, virtual time. */
export class SimDataplane implements Dataplane {
  readonly mode = 'kernel'
  readonly #kernel: SimKernel
  readonly #clock: Clock
  readonly #random: SeededRandom
  readonly #onApplied: (generation: number) => void
  readonly #listeners = new Set<(event: DataplaneEvent) => void>()
  readonly #serial = new Serial()
  #desired: DesiredState | null = null
  #waiting: Promise<AppliedState> | null = null
  #generation = 0
  readonly #timers = new Set<Timer>()
  #running = false

  constructor(parts: {
    kernel: SimKernel
    clock: Clock
    random: SeededRandom
    onApplied: (generation: number) => void
  }) {
    this.#kernel = parts.kernel
    this.#clock = parts.clock
    this.#random = parts.random
    this.#onApplied = parts.onApplied
  }

  get listeners(): number {
    return this.#listeners.size
  }

  async start(): Promise<void> {
    const adopted = this.#kernel.startEngines()
    this.#running = true
    for (const engine of ['pegasus', 'tempest'] as const) this.#engineUp(engine, adopted)
  }

  apply(desired: DesiredState): Promise<AppliedState> {
    this.#desired = desired
    return this.#applyNewest()
  }

  host = (): ReturnType<SimKernel['facts']> => this.#kernel.facts()

  async setKeys(): Promise<boolean> {
    return true
  }

  engines(): EngineStatus[] {
    return (['pegasus', 'tempest'] as const).map((engine) => ({
      engine,
      ...this.#kernel.engines[engine],
      generation: this.#generation,
      version: '0.1.0',
      draining: []
    }))
  }

  async counters(): Promise<ReadonlyMap<string, ServiceCounters>> {
    return new Map()
  }

  async tunnels(): Promise<TunnelCounters[]> {
    return []
  }

  async flows(): Promise<[]> {
    return []
  }

  onEvent(listener: (event: DataplaneEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async stop({ mode }: { mode: 'remove' | 'keep' }): Promise<void> {
    this.#running = false
    for (const timer of this.#timers) timer.cancel()
    await this.#serial.run(async () => {
      if (mode === 'remove') this.#kernel.clear()
    })
  }

  /** An engine of this host has just died; whoever supervises it brings it back. */
  engineCrashed(engine: EngineName): void {
    if (!this.#running) return
    this.#emit({ type: 'engine.exited', engine, reason: 'killed by SIGKILL' })
    this.#later(this.#random.between(engineBackMinMs, engineBackMaxMs), () => {
      if (!this.#running) return
      this.#kernel.startEngine(engine)
      this.#engineUp(engine, false)
      if (this.#desired != null) void this.#applyNewest()
    })
  }

  #engineUp(engine: EngineName, adopted: boolean): void {
    this.#emit({ type: 'engine.started', engine, pid: this.#kernel.engines[engine].pid ?? 0, adopted })
    this.#emit({ type: 'engine.ready', engine })
  }

  /** Only the newest waiting state is applied. */
  #applyNewest(): Promise<AppliedState> {
    this.#waiting ??= this.#serial.run(() => {
      this.#waiting = null
      return this.#applyNow()
    })
    return this.#waiting
  }

  async #applyNow(): Promise<AppliedState> {
    const desired = this.#desired as DesiredState
    const generation = ++this.#generation
    await this.#clock.sleep(this.#random.between(applyMinMs, applyMaxMs) * this.#kernel.slowness)
    const applied = this.#kernel.refuses ? this.#refused(desired, generation) : this.#load(desired, generation)
    this.#onApplied(generation)
    this.#emit({ type: 'applied', applied })
    return applied
  }

  #load(desired: DesiredState, generation: number): AppliedState {
    const { plan, facts } = this.#kernel.load(desired)
    const forwarding = { ipv4: new Set(facts.links.map(({ ifname }) => ifname)), ipv6: true }
    const services = appliedServices(desired, {
      planned: plan.failures,
      deviceFailures: new Map(),
      engineErrors: [],
      facts,
      forwarding,
      parentTroubles: new Map(),
      returnPaths: new Map(),
      cutOff: new Map()
    })
    return { generation, services, failure: null }
  }

  #refused(desired: DesiredState, generation: number): AppliedState {
    const failure = { reason: 'KernelRefused', message: 'the simulated kernel takes nothing right now' }
    this.#later(reapplyRetryMs, () => {
      if (this.#running && this.#desired === desired) void this.#applyNewest()
    })
    const services = new Map<string, AppliedService>()
    for (const { id, spec } of [...desired.outbound, ...desired.inbound]) {
      services.set(id, { spec, failure, warnings: [], effectiveTransport: null, interface: null })
    }
    return { generation, services, failure }
  }

  #later(ms: number, fn: () => void): void {
    const timer = this.#clock.after(ms, () => {
      this.#timers.delete(timer)
      fn()
    })
    this.#timers.add(timer)
  }

  #emit(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
