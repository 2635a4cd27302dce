/**
 * What was last read of the kernel. It is good for as long as somebody listens to the kernel and nothing was heard that may
 * have changed it: to read it anew costs processes, and nearly always says the same. Of a change that is heard a moment late
 * the listener has everything looked at again, so what was done on an old reading does not stay.
 */
export class Reading<T> {
  readonly #read: () => Promise<T>
  readonly #isWatched: () => boolean
  #last: T | null = null
  #isGood = false
  /** So far: what was read while one came is old already. */
  #changes = 0

  constructor(read: () => Promise<T>, isWatched: () => boolean) {
    this.#read = read
    this.#isWatched = isWatched
  }

  /** However old; null before the first. */
  get last(): T | null {
    return this.#last
  }

  changed(): void {
    this.#changes++
    this.#isGood = false
  }

  async current(): Promise<T> {
    return this.#isGood && this.#isWatched() && this.#last != null ? this.#last : this.anew()
  }

  async anew(): Promise<T> {
    const before = this.#changes
    const value = await this.#read()
    this.#last = value
    this.#isGood = before === this.#changes
    return value
  }
}
