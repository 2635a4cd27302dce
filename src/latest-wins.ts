/**
 * Between one who produces updates and one who is slow to take them: of each key only the newest update waits, at most
 * `keysMax` keys do, and beyond that the one that waits for longest gives way. The producer never waits.
 */
export class LatestWins<T> {
  readonly #write: (update: T, missed: number) => Promise<void>
  readonly #keysMax: number
  readonly #waiting = new Map<string, T>()
  #missed = 0
  #writing = false
  #closed = false

  /** `write` resolves when the next update may follow; `missed` updates were dropped before it for want of room. */
  constructor(keysMax: number, write: (update: T, missed: number) => Promise<void>) {
    this.#keysMax = keysMax
    this.#write = write
  }

  push(key: string, update: T): void {
    if (this.#closed) return
    // To the end: what is newest of all is told last.
    this.#waiting.delete(key)
    this.#waiting.set(key, update)
    if (this.#waiting.size > this.#keysMax) {
      this.#waiting.delete(this.#waiting.keys().next().value!)
      this.#missed++
    }
    if (!this.#writing) void this.#run()
  }

  /** Drops what waits and takes no more. */
  close(): void {
    this.#closed = true
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    this.#writing = true
    try {
      for (let next = this.#take(); next != null; next = this.#take()) {
        const missed = this.#missed
        this.#missed = 0
        await this.#write(next.update, missed)
      }
    } catch {
      // Whoever took them is gone.
      this.close()
    } finally {
      this.#writing = false
    }
  }

  #take(): { update: T } | null {
    const first = this.#waiting.entries().next().value
    if (first == null) return null
    this.#waiting.delete(first[0])
    return { update: first[1] }
  }
}
