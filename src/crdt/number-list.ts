const BLOCK = 1024

/** Whole numbers below 2^32, four bytes each: a list that grows at its end without being copied. */
export class NumberList {
  readonly #blocks: Uint32Array[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  /** One of those that are there. */
  at(index: number): number {
    return this.#blocks[Math.floor(index / BLOCK)]?.[index % BLOCK] as number
  }

  push(value: number): void {
    const block = Math.floor(this.#length / BLOCK)
    const held = this.#blocks[block]
    const at = this.#length++ % BLOCK
    if (held != null && at < held.length) {
      held[at] = value
      return
    }
    // The first block begins small: most authors have written little.
    const next = new Uint32Array(block > 0 ? BLOCK : Math.max(4, Math.min(BLOCK, at * 2)))
    next.set(held ?? [])
    next[at] = value
    this.#blocks[block] = next
  }

  /** Forgets all from `length` on. */
  cut(length: number): void {
    this.#length = Math.min(this.#length, length)
    this.#blocks.length = Math.ceil(this.#length / BLOCK)
  }
}
