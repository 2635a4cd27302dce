import type {
  AppliedFailure,
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
} from '../../../src/dataplane/desired.ts'

/** A data plane in memory: takes what it is told, or fails as a test asks, and counts. */
export class FakeDataplane implements Dataplane {
  readonly mode = 'kernel'
  readonly listeners = new Set<(event: DataplaneEvent) => void>()
  readonly told: DesiredState[] = []
  readonly figures = new Map<string, ServiceCounters>()
  readonly openFlows = new Map<string, OpenFlow[]>()
  readonly tunnelFigures: TunnelCounters[] = []
  readonly serviceFailures = new Map<string, AppliedFailure>()
  readonly warnings = new Map<string, AppliedFailure[]>()
  failure: AppliedFailure | null = null
  /** While set, an apply does not end. */
  gate: Promise<void> | null = null
  states: Record<'pegasus' | 'tempest', EngineStatus['state']> = { pegasus: 'ready', tempest: 'ready' }
  countersAsked = 0
  readonly keys: HostKeys[] = []
  takesKeys = true
  #generation = 0

  async start(): Promise<void> {}

  async apply(desired: DesiredState): Promise<AppliedState> {
    this.told.push(desired)
    await this.gate
    const applied = this.#outcome(desired)
    this.emit({ type: 'applied', applied })
    return applied
  }

  #outcome(desired: DesiredState): AppliedState {
    const all = [
      ...desired.outbound.map(({ id, spec, transport, interface: device }) => ({ id, spec, transport, device })),
      ...desired.inbound.map(({ id, spec, transport }) => ({ id, spec, transport, device: null }))
    ]
    const services = all.map(({ id, spec, transport, device }) => {
      const failure = this.serviceFailures.get(id) ?? null
      const made = {
        name: id.slice(0, 15).toLowerCase(),
        mac: '02:00:00:00:00:01',
        ipv4: device?.ipv4Cidr ?? null,
        ipv6: device?.ipv6Cidr ?? null
      }
      return [
        id,
        {
          spec,
          failure,
          warnings: this.warnings.get(id) ?? [],
          effectiveTransport: failure == null ? transport : null,
          interface: device == null || failure != null ? null : made
        }
      ] as const
    })
    return { generation: ++this.#generation, services: new Map(services), failure: this.failure }
  }

  async setKeys(keys: HostKeys): Promise<boolean> {
    this.keys.push(keys)
    return this.takesKeys
  }

  engines(): EngineStatus[] {
    return (['pegasus', 'tempest'] as const).map((engine) => ({
      engine,
      pid: 100,
      state: this.states[engine],
      generation: this.#generation,
      version: '0.1.0',
      restarts: 0,
      draining: []
    }))
  }

  async counters(): Promise<ReadonlyMap<string, ServiceCounters>> {
    this.countersAsked++
    return new Map(this.figures)
  }

  async tunnels(): Promise<TunnelCounters[]> {
    return [...this.tunnelFigures]
  }

  async flows(service: string, query: FlowsQuery): Promise<OpenFlow[]> {
    return (this.openFlows.get(service) ?? []).slice(0, query.limit)
  }

  onEvent(listener: (event: DataplaneEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  emit(event: DataplaneEvent): void {
    for (const listener of this.listeners) listener(event)
  }

  engine(engine: 'pegasus' | 'tempest', state: EngineStatus['state']): void {
    this.states[engine] = state
    if (state === 'ready') this.emit({ type: 'engine.ready', engine })
    else if (state === 'starting') this.emit({ type: 'engine.started', engine, pid: 101, adopted: false })
    else this.emit({ type: 'engine.exited', engine, reason: 'killed by SIGKILL' })
  }

  async stop(): Promise<void> {}
}
