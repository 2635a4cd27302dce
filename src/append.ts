/** Puts them at the end of a list. As arguments of `push` some 125,000 are more than a stack has room for, and it throws. */
export function append<T>(list: T[], items: Iterable<T>): void {
  for (const item of items) list.push(item)
}
