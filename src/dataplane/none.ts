import type { ServiceId } from '../crdt/schema.ts'
import type { AppliedState, Dataplane, DataplaneEvent, DesiredState, ServiceCounters } from './desired.ts'

/** A data plane that carries nothing and says so: `--dataplane none`. */
export class NoDataplane implements Dataplane {
  readonly mode = 'none'
  readonly #listeners = new Set<(event: DataplaneEvent) => void>()
  #generation = 0

  async start(): Promise<void> {}

  async apply(desired: DesiredState): Promise<AppliedState> {
    const failure = {
      reason: 'DataplaneDisabled',
      message: 'this peer runs with --dataplane none and carries no traffic; start its agent with --dataplane kernel'
    }
    const applied: AppliedState = {
      generation: ++this.#generation,
      services: new Map(
        [...desired.outbound, ...desired.inbound].map(({ id, spec }) => [
          id,
          { spec, failure, warnings: [], effectiveTransport: null, interface: null }
        ])
      ),
      failure: null
    }
    for (const listener of this.#listeners) listener({ type: 'applied', applied })
    return applied
  }

  async setKeys(): Promise<boolean> {
    return true
  }

  engines(): [] {
    return []
  }

  async counters(): Promise<ReadonlyMap<ServiceId, ServiceCounters>> {
    return new Map()
  }

  async tunnels(): Promise<[]> {
    return []
  }

  async flows(): Promise<[]> {
    return []
  }

  onEvent(listener: (event: DataplaneEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async stop(): Promise<void> {}
}
