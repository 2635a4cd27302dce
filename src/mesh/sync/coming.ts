import type { Clock, Timer } from '../../clock.ts'
import type { VersionVector } from '../../crdt/replicated.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { comingAvoidMs, comingLapseMs, comingMaxMs } from '../limits.ts'

/** What one peer is about to hand over, as long as it can be relied on. */
export interface Delivery {
  /** Whether all of it has come; told when it has ended or lapsed. */
  readonly whole: Promise<boolean>
  /** Something of it has come. */
  arrived(): void
  /** Nothing more comes. */
  end(): void
}

/** A vector to name, and the deliveries for whose sake it is higher than what is here. */
export interface Counted {
  vector: VersionVector
  on: readonly Delivery[]
}

/**
 * What others hand over just now, so that nobody else is asked for the same: two halves of a cluster that find each other
 * again have several pairs of peers sync at once, and each would hand over all of it.
 *
 * 1. Once both vectors of a sync are named, what the other one is about to send counts as here in the vectors of other syncs.
 * 2. It counts only towards a peer that names it as well. So it keeps that peer from sending it, and leads nobody to expect
 *    of this peer what it has yet to get.
 * 3. A peer that then hands over nothing new for `comingLapseMs`, or takes longer than `comingMaxMs`, is counted on no more,
 *    for `comingAvoidMs`. Whoever relied on it, or on one that has ended without all of it, hears so by {@link Delivery.whole}.
 */
export class Coming {
  readonly #clock: Clock
  readonly #vector: () => VersionVector
  readonly #deliveries = new Map<Delivery, { coming: VersionVector; theirs: VersionVector }>()
  /** Monotonic ms until which each is not counted on. */
  readonly #avoided = new Map<PeerId, number>()

  /** `vector`: of what is here. */
  constructor({ clock, vector }: { clock: Clock; vector: () => VersionVector }) {
    this.#clock = clock
    this.#vector = vector
  }

  /** What to name to a peer that names `theirs`: what is here, and what of theirs is on its way. */
  counted(theirs: VersionVector): Counted {
    const here = this.#vector()
    let vector = here
    const on: Delivery[] = []
    for (const [delivery, { coming }] of this.#deliveries) {
      let raises = false
      for (const [actor, seq] of Object.entries(coming)) {
        const both = Math.min(seq, theirs[actor] ?? 0)
        if (both <= (vector[actor] ?? 0)) continue
        if (vector === here) vector = { ...here }
        vector[actor] = both
        raises = true
      }
      if (raises) on.push(delivery)
    }
    return { vector, on }
  }

  /** Who begins a sync shows only a digest at first. The vector behind it, when one that delivers holds the same. */
  known(isIt: (vector: VersionVector) => boolean): VersionVector {
    return this.#deliveries.values().find(({ theirs }) => isIt(theirs))?.theirs ?? {}
  }

  /** `peer` was told `named` and has said `theirs`. null when nothing comes of it, or it is not counted on. */
  expect(peer: PeerId, named: VersionVector, theirs: VersionVector): Delivery | null {
    const now = this.#clock.monotonic()
    for (const [one, until] of this.#avoided) if (until <= now) this.#avoided.delete(one)
    if (this.#avoided.has(peer)) return null
    const coming = lackedBy(named, theirs)
    if (coming == null) return null

    const { promise: whole, resolve } = Promise.withResolvers<boolean>()
    const latest = now + comingMaxMs
    let timer: Timer | null = null
    const end = (): void => {
      timer?.cancel()
      if (!this.#deliveries.delete(delivery)) return
      const here = this.#vector()
      resolve(Object.entries(coming).every(([actor, seq]) => seq <= (here[actor] ?? 0)))
    }
    const lapse = (): void => {
      this.#avoided.set(peer, this.#clock.monotonic() + comingAvoidMs)
      end()
    }
    const wait = (): void => {
      timer?.cancel()
      timer = this.#clock.after(Math.max(0, Math.min(comingLapseMs, latest - this.#clock.monotonic())), lapse)
    }
    const delivery: Delivery = {
      whole,
      arrived: () => {
        if (this.#deliveries.has(delivery)) wait()
      },
      end
    }
    this.#deliveries.set(delivery, { coming, theirs })
    wait()
    return delivery
  }
}

/** What of `theirs` is beyond `named`; null for nothing. */
function lackedBy(named: VersionVector, theirs: VersionVector): VersionVector | null {
  let lacked: VersionVector | null = null
  for (const actor of Object.keys(theirs)) {
    const seq = theirs[actor] ?? 0
    if (seq > (named[actor] ?? 0)) (lacked ??= {})[actor] = seq
  }
  return lacked
}
