import type { Clock } from '../../clock.ts'
import type { VersionVector } from '../../crdt/replicated.ts'
import type { View } from '../../crdt/view.ts'
import {
  beatHeadsMax,
  doubtDepthFactor,
  doubtDepthMin,
  doubtEveryMaxMs,
  doubtEveryMs,
  doubtForgottenMs
} from '../limits.ts'
import type { Beat } from '../presence/beat.ts'

/**
 * When to look behind the version vectors. A number of an actor stands for one envelope, unless two agents write as one
 * (a copied state directory). Then two peers that could not hear each other may each hold another envelope under one
 * number: neither sends it, since the other has that number, and what was built on it waits for ever at the other one.
 *
 * So whoever is left with something that waits after all was handed over, or whose document is another one under an equal
 * vector, asks once more as if it had less: the last few envelopes of each actor at first, more each time. What it is sent
 * under a number that it holds proves the fork.
 */
export class Doubt {
  readonly #clock: Clock
  #at = -Infinity
  #tries = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many envelopes of each actor to ask for anew; null when that was asked a moment ago. */
  next(): number | null {
    const now = this.#clock.monotonic()
    const since = now - this.#at
    if (since > doubtForgottenMs) this.#tries = 0
    else if (since < Math.min(doubtEveryMs * 2 ** (this.#tries - 1), doubtEveryMaxMs)) return null
    this.#at = now
    return doubtDepthMin * doubtDepthFactor ** this.#tries++
  }
}

export const lowered = (vector: VersionVector, depth: number): VersionVector =>
  Object.fromEntries(Object.entries(vector).map(([actor, seq]) => [actor, Math.max(0, seq - depth)]))

/**
 * Whether a beat whose vector is equal to this peer's names another document, or other entries of the auth log: that may fork as
 * well, and stands among the heads by a digest.
 */
export function isOtherDocument({ heads }: View, beat: Pick<Beat, 'heads'>): boolean {
  if (beat.heads.length >= beatHeadsMax || heads.length >= beatHeadsMax) return false
  const theirs = new Set(beat.heads)
  return heads.some((head) => !theirs.has(head))
}
