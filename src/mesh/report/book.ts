import type { Clock, Timer } from '../../clock.ts'
import type { ServiceId } from '../../crdt/schema.ts'
import { InvalidRequestError } from '../../errors.ts'
import { reportCountersMs, reportRemovalsMax, reportsPerPeerMax } from '../limits.ts'
import type { ServiceReport } from '../mesh.ts'

/** How far a book has come, or a reader of it. */
export interface Mark {
  incarnation: number
  seq: number
}

/** What changed since a sequence number, or everything when that is too long ago or of another incarnation. */
export interface ReportDelta extends Mark {
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
  readonly #entries = new Map<ServiceId, { report: ServiceReport; seq: number }>()
  /** Those with new counters that have no number of their own yet. */
  readonly #dirty = new Set<ServiceId>()
  /** Changes after `#recentFrom`, newest last; an entry may be in it more than once. */
  readonly #recent: Array<{ id: ServiceId; seq: number }> = []
  #recentFrom = 0
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

  version(): Mark {
    return { incarnation: this.#incarnation, seq: this.#seq }
  }

  all(): Map<ServiceId, ServiceReport> {
    return new Map([...this.#entries].map(([id, { report }]) => [id, report]))
  }

  /** Replaces everything; with `changed`, looks at these alone, since nothing else differs from the last call. */
  publish(reports: ReadonlyMap<ServiceId, ServiceReport>, changed?: readonly ServiceId[]): void {
    if (reports.size > reportsPerPeerMax) {
      throw new InvalidRequestError(`a peer reports on at most ${reportsPerPeerMax} services, not ${reports.size}`)
    }
    const seq = this.#seq + 1
    let material = false
    for (const id of changed ?? [...this.#entries.keys(), ...reports.keys()]) {
      const report = reports.get(id)
      const held = this.#entries.get(id)
      if (report == null) {
        if (held == null) continue
        this.#entries.delete(id)
        this.#dirty.delete(id)
        this.#removals.delete(id)
        this.#removals.set(id, seq)
        material = true
      } else if (held != null && sameStatement(held.report, report)) {
        if (counters(held.report) !== counters(report)) this.#dirty.add(id)
        held.report = report
      } else {
        this.#entries.set(id, { report, seq })
        this.#dirty.delete(id)
        this.#removals.delete(id)
        this.#note(id, seq)
        material = true
      }
    }
    this.#forgetOldRemovals()
    if (material) {
      this.#seq = seq
      this.#onChange()
    }
    if (this.#dirty.size > 0) {
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
      changed: this.#changedSince(from),
      removed: whole ? [] : [...this.#removals].filter(([, removedAt]) => removedAt > from).map(([id]) => id)
    }
  }

  #changedSince(from: number): ServiceReport[] {
    // The last changes are listed; a reader that is further behind has all entries looked through for it.
    const recent =
      from >= this.#recentFrom ? new Set(this.#recent.filter(({ seq }) => seq > from).map(({ id }) => id)) : null
    const ids = recent ?? this.#entries.keys()
    const entries = [...ids].flatMap((id) => this.#entries.get(id) ?? [])
    return entries.filter((entry) => entry.seq > from).map(({ report }) => report)
  }

  #note(id: ServiceId, seq: number): void {
    this.#recent.push({ id, seq })
    if (this.#recent.length <= 2 * reportRemovalsMax) return
    const dropped = this.#recent.splice(0, reportRemovalsMax)
    this.#recentFrom = dropped.at(-1)!.seq
  }

  /** Gives what has only new counters a number, so that it is part of deltas. */
  #number(): boolean {
    if (this.#dirty.size === 0) return false
    this.#seq++
    for (const id of this.#dirty) {
      this.#entries.get(id)!.seq = this.#seq
      this.#note(id, this.#seq)
    }
    this.#dirty.clear()
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

/** Whether two reports say the same but for the counters. */
export function sameStatement(a: ServiceReport, b: ServiceReport): boolean {
  return a === b || (a.spec === b.spec && a.state === b.state && a.since === b.since && statement(a) === statement(b))
}

const statement = (report: ServiceReport): string => JSON.stringify({ ...report, flows: 0, bytes_in: 0, bytes_out: 0 })
