import type { Fold } from './fold.ts'
import type { Intake } from './intake.ts'
import type { Entry } from './entries.ts'
import type { Ledger } from './ledger.ts'
import type { VersionVector } from './replicated.ts'
import type { PeerId } from './schema.ts'
import { NOWHERE } from './snapshot.ts'
import type { View } from './view.ts'

/** Entries, what has become of them, and the way by which more come in. */
export interface State {
  ledger: Ledger
  fold: Fold
  intake: Intake
}

/**
 * What memory holds of a cluster, and how much of it is on disk. Memory runs ahead of the disk by what is being written:
 * ledger and fold take a change at once, so that the next one can build on it and both share an fdatasync; the view that
 * others see and the vector follow when the disk has it. When the disk refuses, memory goes back to what is durable.
 */
export class Held {
  readonly #self: PeerId
  #state: State
  /** Entries that are on disk: the first so many of the ledger. */
  #durable = 0
  #vector: VersionVector = {}
  /** What {@link vector} answers, until something else is durable. */
  #named: VersionVector | null = null
  /** Wall-clock ms of the newest entry that this peer has written. */
  #lastWrittenAt = 0
  /** What is durable. */
  view: View

  constructor(self: PeerId, state: State) {
    this.#self = self
    this.#state = state
    this.view = state.fold.view
  }

  get ledger(): Ledger {
    return this.#state.ledger
  }

  /** What will be durable if all that is being written succeeds; what a write is checked against. */
  get fold(): Fold {
    return this.#state.fold
  }

  get intake(): Intake {
    return this.#state.intake
  }

  get durableCount(): number {
    return this.#durable
  }

  /** Entries that are on disk, in the order of the log. */
  durable(): readonly Entry[] {
    return this.ledger.entries.slice(0, this.#durable)
  }

  /** The same object as long as it says the same; nobody may change it. */
  vector(): VersionVector {
    return (this.#named ??= this.#name())
  }

  #name(): VersionVector {
    const vector = { ...this.#vector }
    // Of what cannot be told apart all is wanted, whatever number it bears.
    for (const actor of this.ledger.provenActors()) {
      const seq = (this.ledger.provenFrom(actor) ?? 1) - 1
      if (seq < (vector[actor] ?? 0)) vector[actor] = seq
    }
    return vector
  }

  /** The next entries of the ledger are on disk, at these offsets. */
  settle(entries: readonly Entry[], offsets: readonly number[]): void {
    for (const [i, entry] of entries.entries()) {
      entry.offset = offsets[i] as number
      this.#settle(entry)
    }
  }

  /** The next entries of the ledger, up to the one before `end`, are on disk where they say. */
  settleUpTo(end: number): void {
    for (let i = this.#durable; i < end; i++) this.#settle(this.ledger.entries.at(i) as Entry)
  }

  #settle(entry: Entry): void {
    if (entry.offset !== NOWHERE) entry.dropBytes()
    if (entry.authorId === this.#self) this.wroteAt(entry.writtenAt)
    if (this.ledger.hasPlace(entry)) this.#vector[entry.actor] = entry.seq
    this.#durable++
    this.#named = null
  }

  /** The time to put on an entry, never back: who reads the history sees each author's changes in their order. */
  wroteAt(now: number): number {
    return (this.#lastWrittenAt = Math.max(this.#lastWrittenAt, now))
  }

  /** What is not on disk is forgotten. */
  rollBack(): void {
    this.ledger.cut(this.#durable)
    this.#named = null
    this.intake.clear()
    this.fold.rebuild(this.view.revision)
    // Nothing durable has changed, so nobody is told; but the next view must grow from the one that is known.
    this.view = this.fold.view
  }

  /**
   * Another state takes the place of this one, all of it on disk: its entries up to the one before `covered` where they say, then
   * `carried` at `places`. The view is the next one. Frees the state before.
   */
  replace(state: State, covered: number, carried: Entry[], places: readonly number[]): void {
    const before = this.#state.fold
    this.#state = state
    this.fold.integrate(carried)
    before.free()
    this.#durable = 0
    this.#vector = {}
    this.settleUpTo(covered)
    this.settle(carried, places)
    this.fold.view = { ...this.fold.view, revision: this.view.revision + 1 }
    this.view = this.fold.view
  }
}
