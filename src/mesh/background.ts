/**
 * Work nobody waits for. `stop` aborts what is under way and waits until it has ended, so that nothing outlives its
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

  async stop(): Promise<void> {
    this.#controller.abort(new StoppedError())
    await Promise.all(this.#running)
  }
}

/** The mesh was stopped while this was under way. */
class StoppedError extends Error {
  constructor() {
    super('the mesh was stopped')
    this.name = 'StoppedError'
  }
}
