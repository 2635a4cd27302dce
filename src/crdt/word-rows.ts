const ROWS = 256

/** Rows of so many whole numbers below 2^32, four bytes each, outside V8's heap: they grow at their end without being copied. */
export class WordRows {
  readonly #width: number
  readonly #blocks: Uint32Array[] = []
  #length = 0

  constructor(width: number) {
    this.#width = width
  }

  get length(): number {
    return this.#length
  }

  /** Of a row that is there. */
  at(row: number, column: number): number {
    return this.blockOf(row)[this.placeOf(row) + column] as number
  }

  /** What holds a row that is there, from {@link placeOf} on. */
  blockOf(row: number): Uint32Array {
    return this.#blocks[Math.floor(row / ROWS)] as Uint32Array
  }

  placeOf(row: number): number {
    return (row % ROWS) * this.#width
  }

  /** Takes as many values as a row has. */
  set(row: number, values: ArrayLike<number>): void {
    this.blockOf(row).set(values, this.placeOf(row))
  }

  /** Answers its number. */
  add(values: ArrayLike<number>): number {
    const row = this.#length++
    if (row === this.#blocks.length * ROWS) this.#blocks.push(new Uint32Array(ROWS * this.#width))
    this.set(row, values)
    return row
  }

  /** Forgets all from `length` on. */
  cut(length: number): void {
    this.#length = Math.min(this.#length, length)
    this.#blocks.length = Math.ceil(this.#length / ROWS)
  }
}
