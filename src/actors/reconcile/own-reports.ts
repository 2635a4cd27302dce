import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { AppliedState, Dataplane, DesiredState, ServiceCounters } from '../../dataplane/desired.ts'
import type { Mesh, ServiceReport } from '../../mesh/mesh.ts'
import type { Reach } from './phase.ts'
import { reportFor, sameFacts } from './report.ts'

export interface OwnReportsOptions {
  mesh: Pick<Mesh, 'publishReport'>
  dataplane: Pick<Dataplane, 'engines' | 'mode'>
  reach: (peer: PeerId) => Reach
  now: () => number
}

/** What this peer says of the services that it is an endpoint of, kept in step and published when it changes. */
export class OwnReports {
  readonly #options: OwnReportsOptions
  #reports = new Map<ServiceId, ServiceReport>()
  #applied: AppliedState | null = null
  /** The specs that the last applied desired state asked for. */
  #appliedSpecs: ReadonlyMap<ServiceId, string> = new Map()
  #desired: DesiredState | null = null
  #touched = true

  constructor(options: OwnReportsOptions) {
    this.#options = options
  }

  get(id: ServiceId): ServiceReport | null {
    return this.#reports.get(id) ?? null
  }

  all(): IteratorObject<ServiceReport> {
    return this.#reports.values()
  }

  /** Services that this peer is an endpoint of. */
  get size(): number {
    return this.#desired == null ? 0 : this.#desired.outbound.length + this.#desired.inbound.length
  }

  /** `desired` is what led to `applied`; null when the data plane applied the same state anew by itself. */
  onApplied(applied: AppliedState, desired: DesiredState | null): void {
    this.#applied = applied
    if (desired != null) {
      this.#appliedSpecs = new Map([...desired.outbound, ...desired.inbound].map(({ id, spec }) => [id, spec]))
    }
    this.#touched = true
  }

  /** Engines or somebody's reachability have changed. */
  touch(): void {
    this.#touched = true
  }

  /** Builds every report anew where that is due, and publishes. Returns the services whose report changed in substance. */
  refresh(desired: DesiredState | null, counters: ReadonlyMap<ServiceId, ServiceCounters>): ServiceId[] {
    if (!this.#touched && desired === this.#desired) return []
    this.#touched = false
    this.#desired = desired
    const reports = new Map<ServiceId, ServiceReport>()
    const changed: ServiceId[] = []
    const enginesDown = this.#enginesDown()
    const add = (serviceId: ServiceId, role: 'source' | 'target', target: PeerId | null): void => {
      const previous = this.#reports.get(serviceId)
      const report = reportFor({
        serviceId,
        role,
        appliedSpec: this.#appliedSpecs.get(serviceId) ?? null,
        applied: this.#applied,
        enginesDown,
        targetUnreachable: target != null && this.#options.reach(target) === 'unreachable',
        counters: counters.get(serviceId),
        previous,
        now: this.#options.now()
      })
      if (report == null) return
      if (!sameFacts(previous, report)) changed.push(serviceId)
      reports.set(serviceId, report)
    }
    for (const { id, targetPeer } of desired?.outbound ?? []) add(id, 'source', targetPeer)
    for (const { id } of desired?.inbound ?? []) add(id, 'target', null)
    for (const id of this.#reports.keys()) if (!reports.has(id)) changed.push(id)
    this.#reports = reports
    if (changed.length > 0) this.#options.mesh.publishReport(reports)
    return changed
  }

  /** Newer figures for the same facts. */
  count(counters: ReadonlyMap<ServiceId, ServiceCounters>): void {
    let changed = false
    for (const [id, { flows, bytesIn, bytesOut }] of counters) {
      const report = this.#reports.get(id)
      if (report == null || (report.flows === flows && report.bytes_in === bytesIn && report.bytes_out === bytesOut))
        continue
      this.#reports.set(id, { ...report, flows, bytes_in: bytesIn, bytes_out: bytesOut })
      changed = true
    }
    if (changed) this.#options.mesh.publishReport(this.#reports)
  }

  #enginesDown(): string[] {
    if (this.#options.dataplane.mode === 'none') return []
    // One that has just come back has nothing in force before it was told again.
    return this.#options.dataplane
      .engines()
      .filter(({ state, generation }) => state !== 'ready' || generation == null)
      .map(({ engine }) => engine)
  }
}
