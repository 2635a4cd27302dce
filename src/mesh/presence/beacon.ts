import type { Clock, Timer } from '../../clock.ts'
import { jittered, type Random } from '../../random.ts'
import { beatCoalesceMs, beatPromptMs } from '../limits.ts'
import { beatIntervalMs, connectedBeatGapMs, headsBeatGapMs } from './beat.ts'

/**
 * Decides when this peer beats: on a regular, jittered interval, and soon after something material changed, together with
 * whatever else changes meanwhile.
 */
export class Beacon {
  readonly #clock: Clock
  readonly #random: Random
  readonly #members: () => number
  readonly #send: () => void
  #regular: Timer | null = null
  #soon: { timer: Timer; at: number } | null = null
  #sentAt = -Infinity

  constructor(parts: { clock: Clock; random: Random; members: () => number; send: () => void }) {
    this.#clock = parts.clock
    this.#random = parts.random
    this.#members = parts.members
    this.#send = parts.send
  }

  start(): void {
    this.#beat()
  }

  stop(): void {
    this.#regular?.cancel()
    this.#regular = null
    this.#soon?.timer.cancel()
    this.#soon = null
  }

  /** Something that others act on has changed. */
  changed(): void {
    // After a time of quiet whoever waits for it hears at once; in a burst it is worth the wait for what follows.
    const now = this.#clock.monotonic()
    this.#by(Math.max(now + beatPromptMs, this.#sentAt + beatCoalesceMs))
  }

  /** The document's heads have changed, which everybody notices by themselves: not worth a storm. */
  headsChanged(): void {
    this.#notBefore(headsBeatGapMs(this.#members()))
  }

  /** Somebody can hear this peer from now on, and should not wait for it, but in a big cluster. */
  connected(): void {
    this.#notBefore(connectedBeatGapMs(this.#members()))
  }

  #notBefore(gapMs: number): void {
    this.#by(Math.max(this.#clock.monotonic() + beatCoalesceMs, this.#sentAt + gapMs))
  }

  #by(at: number): void {
    if (this.#regular == null) return
    if (this.#soon != null && this.#soon.at <= at) return
    this.#soon?.timer.cancel()
    this.#soon = { at, timer: this.#clock.after(Math.max(0, at - this.#clock.monotonic()), () => this.#beat()) }
  }

  #beat(): void {
    this.#soon?.timer.cancel()
    this.#soon = null
    this.#regular?.cancel()
    this.#sentAt = this.#clock.monotonic()
    // Late by at most the jitter: receivers count three intervals, so a beat may come a fifth early or late.
    this.#regular = this.#clock.after(jittered(this.#random, beatIntervalMs(this.#members())), () => this.#beat())
    this.#send()
  }
}
