import { historyEndedMax, historyPerActorMax, historyTotalMax } from '../limits.ts'

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
 * The flight recorder: the last `historyPerActorMax` steps of each actor, of at most `historyTotalMax` altogether, and of at
 * most `historyEndedMax` of actors that have ended; when those are full, the one that was quiet for longest is forgotten. A
 * step costs one small object and a move in a Map, some 0.3 µs; an event that changes nothing costs a comparison.
 */
export class FlightRecorder {
  readonly #now: () => number
  readonly #live = new Shelf(historyTotalMax - historyEndedMax)
  readonly #ended = new Shelf(historyEndedMax)
  readonly #listeners = new Set<(step: Transition) => void>()
  #by: string | null = null

  /** `now`: wall-clock ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Steps kept at the moment. */
  get size(): number {
    return this.#live.size + this.#ended.size
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** Oldest first; empty for an actor that is not on record. */
  of(path: string): readonly Transition[] {
    return this.#live.of(path) ?? this.#ended.of(path) ?? []
  }

  /** All that is on record, oldest first. */
  all(): Transition[] {
    return [...this.#live.lists(), ...this.#ended.lists()].flat().sort((a, b) => a.at - b.at)
  }

  /** The last step of each of the `count` actors that moved last, newest first. */
  latest(count: number): Transition[] {
    const last = (shelf: Shelf): Transition[] => [...shelf.lists()].slice(-count).flatMap((steps) => steps.at(-1) ?? [])
    return [...last(this.#live), ...last(this.#ended)]
      .sort((a, b) => a.at - b.at)
      .slice(-count)
      .reverse()
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

  record({ path, event, reason, from, to, status }: Omit<Transition, 'at' | 'by'>): void {
    // Written out: what is spread into an object is kept beside it, at twice the size.
    const noted: Transition = { at: this.#now(), path, event, reason, from, to, status, by: this.#by }
    const steps = this.#live.take(path) ?? this.#ended.take(path) ?? []
    steps.push(noted)
    if (steps.length > historyPerActorMax) steps.shift()
    const shelf = status === 'active' ? this.#live : this.#ended
    shelf.put(path, steps)
    for (const listener of this.#listeners) listener(noted)
  }
}

/** Steps by address, up to so many altogether; the list that was put there last is last. */
class Shelf {
  readonly #lists = new Map<string, Transition[]>()
  readonly #max: number
  #size = 0

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#size
  }

  of(path: string): readonly Transition[] | undefined {
    return this.#lists.get(path)
  }

  lists(): Iterable<readonly Transition[]> {
    return this.#lists.values()
  }

  take(path: string): Transition[] | undefined {
    const steps = this.#lists.get(path)
    if (steps != null) {
      this.#lists.delete(path)
      this.#size -= steps.length
    }
    return steps
  }

  put(path: string, steps: Transition[]): void {
    this.#lists.set(path, steps)
    this.#size += steps.length
    if (this.#size <= this.#max) return
    // A sixteenth at once: whoever asks a Map for its first key passes by all that were taken out of it since it grew.
    const left = this.#max - this.#max / 16
    for (const quietest of this.#lists.keys()) {
      if (this.#size <= left) break
      this.take(quietest)
    }
  }
}
