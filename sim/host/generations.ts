/** Answers that are not computed again, by question. Two generations: what is in neither is computed. */
export class Generations<T, Question = string> {
  readonly #kept: number
  #newer = new Map<Question, T>()
  #older = new Map<Question, T>()

  /** Holds so many answers, twice as many at most. */
  constructor(kept: number) {
    this.#kept = kept
  }

  get(question: Question): T | undefined {
    return this.#newer.get(question) ?? this.#older.get(question)
  }

  set(question: Question, answer: T): void {
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

/** Four of the bytes as one number, for those who compare the rest or all of it; 0 stands for what is behind their end. */
export const wordAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)
