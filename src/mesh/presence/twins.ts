import type { Clock } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { beatLivesMax, twinOverlapMs, twinsPerBeatMax, twinTtlMs } from '../limits.ts'
import type { Beat } from './beat.ts'

/** Two agents at once bear one peer's identity: its state directory was copied. */
export interface Twin {
  peer: PeerId
  /** Starts of the two agents, as their beats name them. */
  incarnations: [number, number]
  /** Who has heard both; null when this peer has. */
  saidBy: PeerId | null
}

/** One start of a peer's agent, from its first beat heard to its last, monotonic ms. */
interface Life {
  counter: number
  firstAt: number
  lastAt: number
}

/**
 * Finds out that a peer lives twice. An agent that was restarted beats under a new incarnation and never again under the
 * old one, so two incarnations that go on beating beside each other for `twinOverlapMs` are two agents. Neither clocks
 * nor addresses have a part in it, and a beat that is repeated proves nothing, since its counter does not grow.
 *
 * The twins themselves may never hear each other: whoever hears both says so in its own beats.
 */
export class Twins {
  readonly #self: PeerId
  readonly #incarnation: number
  readonly #clock: Clock
  readonly #bornAt: number
  readonly #lives = new Map<PeerId, Map<number, Life>>()
  /** Who may live twice: heard under more than one incarnation, and this peer once it hears itself. */
  readonly #suspects = new Set<PeerId>()
  /** What others say of this peer: who → when, and which other start it has heard. */
  readonly #told = new Map<PeerId, { at: number; other: number }>()

  constructor(parts: { self: PeerId; incarnation: number; clock: Clock }) {
    this.#self = parts.self
    this.#incarnation = parts.incarnation
    this.#clock = parts.clock
    this.#bornAt = parts.clock.monotonic()
  }

  /** A beat whose signature is good, of anybody and of any incarnation. */
  heard(beat: Beat): void {
    const now = this.#clock.monotonic()
    const lives = this.#lives.get(beat.peer) ?? new Map<number, Life>()
    this.#lives.set(beat.peer, lives)
    const life = lives.get(beat.incarnation)
    if (life == null) {
      lives.set(beat.incarnation, { counter: beat.counter, firstAt: now, lastAt: now })
      // The one that has been silent for longest leaves.
      const oldest = [...lives].reduce((a, b) => (b[1].lastAt < a[1].lastAt ? b : a))
      if (lives.size > beatLivesMax) lives.delete(oldest[0])
      if (lives.size > 1 || beat.peer === this.#self) this.#suspects.add(beat.peer)
    } else if (beat.counter > life.counter) {
      life.counter = beat.counter
      life.lastAt = now
    }
    for (const [peer, one, other] of beat.twins) {
      if (peer !== this.#self || beat.peer === this.#self) continue
      if (one === this.#incarnation) this.#told.set(beat.peer, { at: now, other })
      else if (other === this.#incarnation) this.#told.set(beat.peer, { at: now, other: one })
    }
  }

  /** All that live twice now, each once. */
  found(): Twin[] {
    const now = this.#clock.monotonic()
    const twins: Twin[] = []
    for (const peer of this.#suspects) {
      const all = [...(this.#lives.get(peer) ?? [])]
      if (peer === this.#self) {
        all.push([this.#incarnation, { counter: Infinity, firstAt: this.#bornAt, lastAt: now }])
      }
      const pair = overlapping(all.filter(([, { lastAt }]) => now - lastAt < twinTtlMs))
      if (pair != null) twins.push({ peer, incarnations: pair, saidBy: null })
    }
    if (twins.some(({ peer }) => peer === this.#self)) return twins
    for (const [saidBy, { at, other }] of this.#told) {
      if (now - at >= twinTtlMs) continue
      return [...twins, { peer: this.#self, incarnations: [this.#incarnation, other], saidBy }]
    }
    return twins
  }

  /** What goes into this peer's own beats. */
  statement(): Beat['twins'] {
    return this.found()
      .filter(({ saidBy }) => saidBy == null)
      .slice(0, twinsPerBeatMax)
      .map(({ peer, incarnations: [one, other] }) => [peer, one, other])
  }

  forget(isMember: (peer: PeerId) => boolean): void {
    for (const peer of this.#lives.keys()) if (!isMember(peer)) this.#lives.delete(peer)
    for (const peer of this.#suspects) if (!isMember(peer)) this.#suspects.delete(peer)
    for (const peer of this.#told.keys()) if (!isMember(peer)) this.#told.delete(peer)
  }
}

function overlapping(lives: Array<[number, Life]>): [number, number] | null {
  for (const [i, [incarnation, a]] of lives.entries()) {
    for (const [other, b] of lives.slice(i + 1)) {
      const overlapMs = Math.min(a.lastAt, b.lastAt) - Math.max(a.firstAt, b.firstAt)
      if (overlapMs >= twinOverlapMs) return [incarnation, other]
    }
  }
  return null
}
