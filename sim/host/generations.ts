/** Answers that are not computed again, by question. Two generations: what is in neither is computed. */
export class Generations<T> {
  readonly #kept: number
  #newer = new Map<string, T>()
  #older = new Map<string, T>()

  /** Holds so many answers, twice as many at most. */
  constructor(kept: number) {
    this.#kept = kept
  }

  get(question: string): T | undefined {
    return this.#newer.get(question) ?? this.#older.get(question)
  }

  set(question: string, answer: T): void {
    if (this.#newer.size >= this.#kept) [this.#older, this.#newer] = [this.#newer, new Map()]
    this.#newer.set(question, answer)
  }

  clear(): void {
    this.#newer = this.#older = new Map()
  }
}

/** A key as long as the bytes, different for different ones. */
export const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
