import type { Clock, Timer } from '../../../src/clock.ts'

interface Entry {
  at: number
  seq: number
  fn: () => void
}

/** A clock that moves only when told. Between two timers it lets promises settle, as a real loop would. */
export class FakeClock implements Clock {
  #now = 0
  #seq = 0
  readonly #timers = new Set<Entry>()

  now(): number {
    return Date.UTC(2026, 0, 1) + this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(ms: number, fn: () => void): Timer {
    const entry = { at: this.#now + Math.max(0, ms), seq: this.#seq++, fn }
    this.#timers.add(entry)
    return { cancel: () => void this.#timers.delete(entry) }
  }

  every(ms: number, fn: () => void): Timer {
    let timer = this.after(ms, again.bind(this))
    function again(this: FakeClock): void {
      timer = this.after(ms, again.bind(this))
      fn()
    }
    return { cancel: () => timer.cancel() }
  }

  sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.after(ms, resolve)
      signal?.addEventListener('abort', () => {
        timer.cancel()
        reject(signal.reason)
      })
    })
  }

  /** Timers that are still set: a stopped thing leaves none. */
  get pending(): number {
    return this.#timers.size
  }

  /** Lets everything that is already due or only waits for promises happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    for (;;) {
      const due = [...this.#timers].filter((entry) => entry.at <= end).sort((a, b) => a.at - b.at || a.seq - b.seq)[0]
      if (due == null) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.fn()
      await this.settle()
    }
    this.#now = end
  }
}
