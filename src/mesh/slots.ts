/** At most `max` holders at once; the others wait in order. Waiting ends with the signal's reason when it aborts. */
export class Slots {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(max: number) {
    this.#free = max
  }

  /** A slot if one is free right now. Dispose of it to give it back. */
  tryTake(): Disposable | null {
    if (this.#free === 0) return null
    this.#free--
    return this.#slot()
  }

  async take({ signal }: { signal: AbortSignal }): Promise<Disposable> {
    signal.throwIfAborted()
    const slot = this.tryTake()
    if (slot != null) return slot
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>()
    const wake = (): void => {
      signal.removeEventListener('abort', abort)
      resolve(this.#slot())
    }
    const abort = (): void => {
      this.#waiting.delete(wake)
      reject(signal.reason)
    }
    this.#waiting.add(wake)
    signal.addEventListener('abort', abort, { once: true })
    return promise
  }

  #slot(): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        const next = this.#waiting.values().next().value
        if (next == null) {
          this.#free++
          return
        }
        // The slot passes straight to the next one, so that nobody can slip in between.
        this.#waiting.delete(next)
        next()
      }
    }
  }
}
