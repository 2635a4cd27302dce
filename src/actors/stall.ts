import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import { stallTickMs, stallWarnMs } from './limits.ts'

/**
 * Notices an event loop that stands still: a tick that comes late by `stallWarnMs` or more makes one warning with how
 * long it was late. It only says so; a watchdog that killed the agent would turn a stall into an outage.
 */
export class StallWatch {
  readonly #clock: Clock
  readonly #log: Logger
  #timer: Timer | null = null
  #expectedAt = 0
  #worstMs = 0
  #stalls = 0

  constructor({ clock, log }: { clock: Clock; log: Logger }) {
    this.#clock = clock
    this.#log = log
  }

  start(): void {
    this.#expectedAt = this.#clock.monotonic() + stallTickMs
    this.#timer = this.#clock.after(stallTickMs, () => this.#tick())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** Stalls so far. */
  get stalls(): number {
    return this.#stalls
  }

  /** The longest delay, ms, since this was asked last. */
  takeWorstMs(): number {
    const worst = this.#worstMs
    this.#worstMs = 0
    return worst
  }

  #tick(): void {
    const lateMs = Math.max(0, this.#clock.monotonic() - this.#expectedAt)
    this.#worstMs = Math.max(this.#worstMs, lateMs)
    if (lateMs >= stallWarnMs) {
      this.#stalls++
      this.#log.warn(
        { late_ms: Math.round(lateMs) },
        'the event loop stood still: the agent did nothing else meanwhile'
      )
    }
    this.start()
  }
}
