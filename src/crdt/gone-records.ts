const BLOCK = 1024

/** Of records that are gone, by their numbers, the row of the object that they were: four bytes each. */
export class GoneRecords {
  /** The row plus one; 0 for a record that is not gone. */
  readonly #blocks: Array<Uint32Array | undefined> = []

  /** -1 for one that is not. */
  get(record: number): number {
    return (this.#blocks[Math.floor(record / BLOCK)]?.[record % BLOCK] ?? 0) - 1
  }

  set(record: number, row: number): void {
    const block = (this.#blocks[Math.floor(record / BLOCK)] ??= new Uint32Array(BLOCK))
    block[record % BLOCK] = row + 1
  }

  *[Symbol.iterator](): Generator<[record: number, row: number]> {
    for (const [i, block] of this.#blocks.entries()) {
      for (const [j, row] of block?.entries() ?? []) if (row > 0) yield [i * BLOCK + j, row - 1]
    }
  }
}
