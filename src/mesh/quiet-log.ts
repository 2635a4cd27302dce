import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { quietLogMs } from './limits.ts'

/**
 * Logs what strangers can provoke: the first time at once, then at most once a minute per reason with the number of
 * times it happened meanwhile. Reasons are a fixed set of sentences in the code, never something a stranger chose.
 */
export class QuietLog {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #reasons = new Map<string, { since: number; suppressed: number }>()

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock
    this.#log = log
  }

  info(reason: string, fields: object = {}): void {
    const now = this.#clock.monotonic()
    const entry = this.#reasons.get(reason)
    if (entry != null && now - entry.since < quietLogMs) {
      entry.suppressed++
      return
    }
    this.#log.info({ ...fields, suppressed: entry?.suppressed ?? 0 }, reason)
    this.#reasons.set(reason, { since: now, suppressed: 0 })
  }
}
