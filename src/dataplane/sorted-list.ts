/** A list in the order of `compare`, by which no two items are equal, without some of its items and with others. */
export function merged<T>(
  list: readonly T[],
  gone: readonly T[],
  come: readonly T[],
  compare: (a: T, b: T) => number
): readonly T[] {
  if (gone.length + come.length === 0) return list
  if (gone.length + come.length > FEW) {
    const without = new Set(gone)
    return [...(gone.length === 0 ? list : list.filter((item) => !without.has(item))), ...come].sort(compare)
  }
  const made = [...list]
  for (const item of gone) {
    const at = lowerBound(made, item, compare)
    if (at < made.length && compare(made[at] as T, item) === 0) made.splice(at, 1)
  }
  for (const item of come) made.splice(lowerBound(made, item, compare), 0, item)
  return made
}

/** Above this a look at all is cheaper than finding the place of each. */
const FEW = 64

/** The place of the first item that does not come before `item`. */
export function lowerBound<T, K>(list: readonly T[], item: K, compare: (a: T, b: K) => number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(list[middle] as T, item) < 0) low = middle + 1
    else high = middle
  }
  return low
}
