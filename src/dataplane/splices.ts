/** A run of items where two lists differ: `remove` of the old one from `at` on, and the new ones in their place. */
export interface Splice<T> {
  /** Counted in the old list. */
  at: number
  removed: readonly T[]
  inserted: readonly T[]
}

/**
 * Where two lists differ, from the front on. Items are the same when they are the very same object (or text): the lists are
 * mostly made of the same ones in the same order, so that what is left to do for each of 10,000 is to compare two pointers.
 */
export function splicesOf<T>(before: readonly T[], after: readonly T[]): ReadonlyArray<Splice<T>> {
  if (before === after) return []
  const held = known.get(after)
  if (held?.before.deref() === before) return held.splices as ReadonlyArray<Splice<T>>
  const splices = look(before, after)
  known.set(after, { before: new WeakRef(before), splices })
  return splices
}

/**
 * Several look at the same two lists, and at those that are made of them. A list does not keep the one before it alive, or all that
 * ever were would be.
 */
const known = new WeakMap<
  readonly unknown[],
  { before: WeakRef<readonly unknown[]>; splices: ReadonlyArray<Splice<unknown>> }
>()

function look<T>(before: readonly T[], after: readonly T[]): Array<Splice<T>> {
  const found: Array<Splice<T>> = []
  let [i, j] = [0, 0]
  for (;;) {
    while (i < before.length && j < after.length && before[i] === after[j]) {
      i++
      j++
    }
    if (i === before.length && j === after.length) return found
    const [removed, inserted] = nextRun(before, i, after, j)
    found.push({ at: i, removed: before.slice(i, i + removed), inserted: after.slice(j, j + inserted) })
    i += removed
    j += inserted
  }
}

/** How many items of each list stand before they are the same again. */
function nextRun<T>(
  before: readonly T[],
  i: number,
  after: readonly T[],
  j: number
): [removed: number, inserted: number] {
  const [left, right] = [before.length - i, after.length - j]
  // What a change of one thing looks like is found without a look at the rest.
  if (left > 0 && right > 0) {
    for (let run = 1; run <= LOOK_AHEAD; run++) {
      if (run <= left && run <= right && isSame(before[i + run], after[j + run], run < left, run < right))
        return [run, run]
      if (run < left && before[i + run] === after[j]) return [run, 0]
      if (run < right && before[i] === after[j + run]) return [0, run]
    }
  }
  // The next place in the new list whose item stands in the rest of the old one.
  const places = new Map<T, number>()
  for (let at = before.length - 1; at >= i; at--) places.set(before[at] as T, at)
  for (let inserted = 0; inserted < right; inserted++) {
    const at = places.get(after[j + inserted] as T)
    if (at != null) return [at - i, inserted]
  }
  return [left, right]
}

/** Both at their end, or both the same item. */
const isSame = <T>(a: T | undefined, b: T | undefined, hasA: boolean, hasB: boolean): boolean =>
  hasA === hasB && (!hasA || a === b)

const LOOK_AHEAD = 4

/** The list with these splices of it; the same one when there are none. */
export function spliced<T>(list: readonly T[], splices: ReadonlyArray<Splice<T>>): readonly T[] {
  if (splices.length === 0) return list
  // By concatenation, which copies whole runs: one of 10,000 items in microseconds.
  const parts: Array<readonly T[]> = []
  let from = 0
  for (const { at, removed, inserted } of splices) {
    parts.push(list.slice(from, at), inserted)
    from = at + removed.length
  }
  parts.push(list.slice(from))
  const made = joined(parts)
  known.set(made, { before: new WeakRef(list), splices })
  return made
}

function joined<T>(parts: ReadonlyArray<readonly T[]>): readonly T[] {
  let made: T[] = []
  // So many at a time: each is an argument.
  for (let from = 0; from < parts.length; from += 1000) made = made.concat(...parts.slice(from, from + 1000))
  return made
}
