import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { AppliedState, Dataplane, DesiredState, ServiceCounters } from '../../dataplane/desired.ts'
import type { Mesh, ServiceReport } from '../../mesh/mesh.ts'
import { appliedDifferences } from './applied.ts'
import type { Side } from './own-side.ts'
import type { Reach } from './phase.ts'
import { reportFor, sameFacts } from './report.ts'

export interface OwnReportsOptions {
  mesh: Pick<Mesh, 'publishReport'>
  dataplane: Pick<Dataplane, 'engines' | 'mode'>
  /** Services that this peer is an endpoint of. */
  own: { readonly size: number; ids(): Iterable<ServiceId>; sideOf(id: ServiceId): Side | null }
  reach: (peer: PeerId) => Reach
  now: () => number
}

/**
 * What this peer says of the services that it is an endpoint of, kept in step and published when it changes. Only what
 * was touched is looked at again: a change of one service costs the same with 10 or 10,000 others. A deleted service is
 * reported until kernel and engines have let go of it, so that whoever waits for the deletion knows when it is done.
 */
export class OwnReports {
  readonly #options: OwnReportsOptions
  readonly #reports = new Map<ServiceId, ServiceReport>()
  #applied: AppliedState | null = null
  /** What led to `#applied`, and the specs in it, made when they are first needed. */
  #appliedDesired: DesiredState | null = null
  #appliedSpecs: ReadonlyMap<ServiceId, string> | null = null
  readonly #touched = new Set<ServiceId>()
  #allTouched = true
  #enginesDown = ''
  /** Services that were this peer's business the last time they were looked at, and its part in them. */
  readonly #known = new Map<ServiceId, Side['role']>()
  /** Those that are not any more, and that the host has yet to let go of. */
  readonly #leaving = new Map<ServiceId, ServiceReport>()

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
    return this.#options.own.size
  }

  /** `desired` is what led to `applied`; null when the data plane applied the same state anew by itself. */
  onApplied(applied: AppliedState, desired: DesiredState | null): void {
    const touched = appliedDifferences(this.#applied, applied)
    if (touched == null) this.#allTouched = true
    else for (const id of touched) this.#touched.add(id)
    this.#applied = applied
    if (desired == null) return
    this.#appliedDesired = desired
    this.#appliedSpecs = null
    if (applied.failure != null) return
    // Applies come one after the other and the newest wish wins: one that lacks the service, and ends after its removal,
    // has nothing of it behind it.
    for (const id of this.#leaving.keys()) {
      if (applied.services.has(id) || this.#specs().has(id)) continue
      this.#leaving.delete(id)
      this.#touched.add(id)
    }
  }

  /** What this service asks for, or whether its other end can be reached, has changed. */
  touch(id: ServiceId): void {
    this.#touched.add(id)
  }

  /** Builds the reports anew that are due, and publishes. Returns the services whose report changed in substance. */
  refresh(counters: ReadonlyMap<ServiceId, ServiceCounters>): ServiceId[] {
    const { own, mesh, reach, now } = this.#options
    const enginesDown = this.#downEngines()
    if (enginesDown.join() !== this.#enginesDown) this.#allTouched = true
    this.#enginesDown = enginesDown.join()
    if (!this.#allTouched && this.#touched.size === 0) return []
    const due = this.#allTouched
      ? new Set([...own.ids(), ...this.#reports.keys(), ...this.#known.keys()])
      : new Set(this.#touched)
    this.#allTouched = false
    this.#touched.clear()
    const changed: ServiceId[] = []
    for (const id of due) {
      const side = own.sideOf(id)
      const previous = this.#reports.get(id)
      const role = this.#known.get(id)
      if (side != null) {
        this.#known.set(id, side.role)
        this.#leaving.delete(id)
      } else if (role != null) {
        this.#known.delete(id)
        this.#leaving.set(id, previous ?? stillThere(id, role, now()))
      }
      const report =
        side == null
          ? (this.#leaving.get(id) ?? null)
          : reportFor({
              serviceId: id,
              role: side.role,
              appliedSpec: this.#applied?.failure == null ? null : (this.#specs().get(id) ?? null),
              applied: this.#applied,
              enginesDown,
              targetUnreachable: side.role === 'source' && reach(side.other) === 'unreachable',
              counters: counters.get(id),
              previous,
              now: now()
            })
      if (report == null) {
        if (this.#reports.delete(id)) changed.push(id)
      } else if (!sameFacts(previous, report)) {
        this.#reports.set(id, report)
        changed.push(id)
      }
    }
    if (changed.length > 0) mesh.publishReport(this.#reports, changed)
    return changed
  }

  /** Newer figures for the same facts. */
  count(counters: ReadonlyMap<ServiceId, ServiceCounters>): void {
    const changed: ServiceId[] = []
    for (const [id, { flows, bytesIn, bytesOut }] of counters) {
      const report = this.#reports.get(id)
      if (report == null || (report.flows === flows && report.bytes_in === bytesIn && report.bytes_out === bytesOut))
        continue
      this.#reports.set(id, { ...report, flows, bytes_in: bytesIn, bytes_out: bytesOut })
      changed.push(id)
    }
    if (changed.length > 0) this.#options.mesh.publishReport(this.#reports, changed)
  }

  #specs(): ReadonlyMap<ServiceId, string> {
    const { outbound = [], inbound = [] } = this.#appliedDesired ?? {}
    this.#appliedSpecs ??= new Map([...outbound, ...inbound].map(({ id, spec }) => [id, spec]))
    return this.#appliedSpecs
  }

  #downEngines(): string[] {
    if (this.#options.dataplane.mode === 'none') return []
    // One that has just come back has nothing in force before it was told again.
    return this.#options.dataplane
      .engines()
      .filter(({ state, generation }) => state !== 'ready' || generation == null)
      .map(({ engine }) => engine)
  }
}

/** Said of a service that is deleted before anything was said of it: its removal is not done yet. */
const stillThere = (id: ServiceId, role: Side['role'], now: number): ServiceReport => ({
  service_id: id,
  role,
  spec: '',
  state: 'failed',
  reason: 'Removing',
  message: 'it is being removed',
  since: now,
  effective_transport: null,
  interface: null,
  warnings: [],
  flows: 0,
  bytes_in: 0,
  bytes_out: 0
})
