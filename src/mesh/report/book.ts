import type { Clock, Timer } from '../../clock.ts'
import type { ServiceId } from '../../crdt/schema.ts'
import { InvalidRequestError } from '../../errors.ts'
import { reportCountersMs, reportRemovalsMax, reportsPerPeerMax } from '../limits.ts'
import type { ServiceReport } from '../mesh.ts'

/** What changed since a sequence number, or everything when that is too long ago or of another incarnation. */
export interface ReportDelta {
  incarnation: number
  seq: number
  /** True: `changed` is all there is, and what is not in it is gone. */
  whole: boolean
  changed: ServiceReport[]
  removed: ServiceId[]
}

/**
 * This peer's own service reports, numbered. A change that others act on takes a new number and is announced at once;
 * counters alone do so at most once in `reportCountersMs`, but whoever asks gets them as they are.
 */
export class ReportBook {
  readonly #incarnation: number
  readonly #clock: Clock
  readonly #onChange: () => void
  readonly #entries = new Map<ServiceId, { report: ServiceReport; seq: number; dirty: boolean }>()
  /** Newest last. */
  readonly #removals = new Map<ServiceId, number>()
  #forgottenSeq = 0
  #seq = 0
  #counters: Timer | null = null

  constructor(parts: { incarnation: number; clock: Clock; onChange: () => void }) {
    this.#incarnation = parts.incarnation
    this.#clock = parts.clock
    this.#onChange = parts.onChange
  }

  stop(): void {
    this.#counters?.cancel()
    this.#counters = null
  }

  version(): { incarnation: number; seq: number } {
    return { incarnation: this.#incarnation, seq: this.#seq }
  }

  all(): Map<ServiceId, ServiceReport> {
    return new Map([...this.#entries].map(([id, { report }]) => [id, report]))
  }

  /** Replaces everything. */
  publish(reports: ReadonlyMap<ServiceId, ServiceReport>): void {
    if (reports.size > reportsPerPeerMax) {
      throw new InvalidRequestError(`a peer reports on at most ${reportsPerPeerMax} services, not ${reports.size}`)
    }
    const seq = this.#seq + 1
    let material = false
    let dirty = false
    for (const id of this.#entries.keys()) {
      if (reports.has(id)) continue
      this.#entries.delete(id)
      this.#removals.delete(id)
      this.#removals.set(id, seq)
      material = true
    }
    for (const [id, report] of reports) {
      const held = this.#entries.get(id)
      if (held != null && statement(held.report) === statement(report)) {
        held.dirty ||= counters(held.report) !== counters(report)
        held.report = report
        dirty ||= held.dirty
        continue
      }
      this.#entries.set(id, { report, seq, dirty: false })
      this.#removals.delete(id)
      material = true
    }
    this.#forgetOldRemovals()
    if (material) {
      this.#seq = seq
      this.#onChange()
    }
    if (dirty) {
      this.#counters ??= this.#clock.after(reportCountersMs, () => {
        this.#counters = null
        if (this.#number()) this.#onChange()
      })
    }
  }

  since(seq: number, incarnation: number): ReportDelta {
    this.#number()
    const whole = incarnation !== this.#incarnation || seq > this.#seq || seq < this.#forgottenSeq
    const from = whole ? -1 : seq
    return {
      incarnation: this.#incarnation,
      seq: this.#seq,
      whole,
      changed: [...this.#entries.values()].filter((entry) => entry.seq > from).map(({ report }) => report),
      removed: whole ? [] : [...this.#removals].filter(([, removedAt]) => removedAt > from).map(([id]) => id)
    }
  }

  /** Gives what has only new counters a number, so that it is part of deltas. */
  #number(): boolean {
    const dirty = [...this.#entries.values()].filter((entry) => entry.dirty)
    if (dirty.length === 0) return false
    this.#seq++
    for (const entry of dirty) {
      entry.seq = this.#seq
      entry.dirty = false
    }
    return true
  }

  #forgetOldRemovals(): void {
    while (this.#removals.size > reportRemovalsMax) {
      const [id, seq] = this.#removals.entries().next().value!
      this.#removals.delete(id)
      this.#forgottenSeq = Math.max(this.#forgottenSeq, seq)
    }
  }
}

const counters = ({ flows, bytes_in, bytes_out }: ServiceReport): string => `${flows} ${bytes_in} ${bytes_out}`
const statement = (report: ServiceReport): string => JSON.stringify({ ...report, flows: 0, bytes_in: 0, bytes_out: 0 })
