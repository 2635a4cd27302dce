import { UnavailableError } from '../errors.ts'

/**
 * Work nobody waits for, and work that must not outlive its owner though somebody does. `stop` aborts what is under way and waits until it has ended, so that nothing outlives its
 * owner. Failures go to `onError`; a failure because of the stop is none.
 */
export class Background {
  readonly #controller = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  run(work: (signal: AbortSignal) => Promise<unknown>): void {
    if (this.signal.aborted) return
    const promise: Promise<void> = work(this.signal)
      .then(() => {})
      .catch((error: unknown) => {
        if (!this.signal.aborted) this.#onError(error)
      })
      .finally(() => this.#running.delete(promise))
    this.#running.add(promise)
  }

  /** For the caller, whose `signal` ends it as well. UnavailableError when it was stopped. */
  async runFor<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.signal.throwIfAborted()
    const done = work(AbortSignal.any([this.signal, signal]))
    const running: Promise<void> = done
      .then(() => {})
      .catch(() => {})
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    return done
  }

  async stop(): Promise<void> {
    this.#controller.abort(new UnavailableError('the agent was stopped while this was under way'))
    await Promise.all(this.#running)
  }
}
