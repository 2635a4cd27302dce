import type { Clock } from '../clock.ts'
import { isoTime } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { eventListenersMax } from './limits.ts'
import type { OperatorEvent } from './operator/operator.ts'

/**
 * Every state change, handed to whoever listens, in order and at once. It keeps nothing: a listener that cannot keep up
 * must drop on its own side, and one that throws is let go, so that no listener slows or breaks another.
 */
export class EventFeed {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #listeners = new Set<(event: OperatorEvent) => void>()

  constructor({ clock, log }: { clock: Clock; log: Logger }) {
    this.#clock = clock
    this.#log = log
  }

  emit(type: string, data: OperatorEvent['data']): void {
    if (this.#listeners.size === 0) return
    const event = { type, at: isoTime(this.#clock.now()), data }
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#listeners.delete(listener)
        this.#log.warn({ error, event: type }, 'a listener on the event feed failed and was let go')
      }
    }
  }

  /** Returns the unsubscriber. UnavailableError when too many listen already. */
  on(listener: (event: OperatorEvent) => void): () => void {
    if (this.#listeners.size >= eventListenersMax) {
      throw new UnavailableError(`${eventListenersMax} clients already watch events here; end one and try again`)
    }
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  get listeners(): number {
    return this.#listeners.size
  }
}
