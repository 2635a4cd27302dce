import { historyPerActorMax, historyTotalMax } from '../limits.ts'

export type ActorStatus = 'active' | 'done' | 'error' | 'stopped'

/** One step of one actor: what it was told, and where that led. */
export interface Transition {
  /** Wall-clock ms. */
  at: number
  /** Address of the actor. */
  path: string
  /** Type of the event; `start` for an actor's first moment, `stop` for its last. */
  event: string
  /** The event's own `reason`, or what was thrown. */
  reason: string | null
  /** State as text; null for logic without states, and before the start. */
  from: string | null
  to: string | null
  status: ActorStatus
  /** Who sent it by hand; null for the agent's own doing. */
  by: string | null
}

/**
 * The flight recorder: the last `historyPerActorMax` steps of each actor, of at most `historyTotalMax` altogether; when
 * those are full, the actor that was quiet for longest is forgotten. A step costs one small object and a move in a Map,
 * some 0.3 µs; an event that changes nothing costs a comparison. Actors that have ended stay on record.
 */
export class FlightRecorder {
  readonly #now: () => number
  /** By address; the one that moved last is last. */
  readonly #steps = new Map<string, Transition[]>()
  readonly #listeners = new Set<(step: Transition) => void>()
  #total = 0
  #by: string | null = null

  /** `now`: wall-clock ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Steps kept at the moment. */
  get size(): number {
    return this.#total
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** Oldest first; empty for an actor that is not on record. */
  of(path: string): readonly Transition[] {
    return this.#steps.get(path) ?? []
  }

  /** All that is on record, oldest first. */
  all(): Transition[] {
    return [...this.#steps.values()].flat().sort((a, b) => a.at - b.at)
  }

  /** The last step of each of the `count` actors that moved last, newest first. */
  latest(count: number): Transition[] {
    return [...this.#steps.values()]
      .slice(-count)
      .reverse()
      .flatMap((steps) => steps.at(-1) ?? [])
  }

  /** Called at once with every step from now on, and must not throw. Returns the unsubscriber. */
  on(listener: (step: Transition) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Whatever happens while `run` runs is noted as caused by `by`: xstate delivers events at once. */
  causedBy<T>(by: string, run: () => T): T {
    const before = this.#by
    this.#by = by
    try {
      return run()
    } finally {
      this.#by = before
    }
  }

  record(step: Omit<Transition, 'at' | 'by'>): void {
    const noted = { at: this.#now(), by: this.#by, ...step }
    const steps = this.#steps.get(step.path) ?? []
    this.#steps.delete(step.path)
    this.#steps.set(step.path, steps)
    steps.push(noted)
    this.#total++
    if (steps.length > historyPerActorMax) {
      steps.shift()
      this.#total--
    }
    while (this.#total > historyTotalMax) {
      const [quietest, forgotten] = this.#steps.entries().next().value!
      this.#steps.delete(quietest)
      this.#total -= forgotten.length
    }
    for (const listener of this.#listeners) listener(noted)
  }
}
