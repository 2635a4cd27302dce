import { splicesOf, spliced } from './splices.ts'

/**
 * What is made of each item of a list, which is told anew at every change: only of items that were not there before is it made.
 * The answer is the very list of before where nothing in it is another one.
 */
export class MappedList<A, B> {
  readonly #work: (item: A) => B
  #context: readonly unknown[] = []
  #items: readonly A[] = []
  #made: readonly B[] = []

  constructor(work: (item: A) => B) {
    this.#work = work
  }

  /** `context`: what else the work depends on. When any of it is another, all is made anew. */
  of(items: readonly A[], context: readonly unknown[] = NOTHING): readonly B[] {
    const holds = context.length === this.#context.length && context.every((one, i) => one === this.#context[i])
    if (!holds) this.#made = items.map(this.#work)
    else {
      const splices = splicesOf(this.#items, items).map(({ at, removed, inserted }) => ({
        at,
        removed: this.#made.slice(at, at + removed.length),
        inserted: inserted.map(this.#work)
      }))
      const isSame = splices.every(
        ({ removed, inserted }) => removed.length === inserted.length && removed.every((one, i) => one === inserted[i])
      )
      if (!isSame) this.#made = spliced(this.#made, splices)
    }
    this.#context = context
    this.#items = items
    return this.#made
  }
}

const NOTHING: readonly unknown[] = []
