/**
 * A function of one object that is worked out once for each. A state that is told anew is mostly made of the objects of the
 * one before, which nobody changes, so a change costs what it changes.
 */
export function once<K extends object, V>(work: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, { value: V }>()
  return (key) => {
    const held = known.get(key)
    if (held != null) return held.value
    const value = work(key)
    known.set(key, { value })
    return value
  }
}
