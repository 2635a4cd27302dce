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

/** The same for a function of a text. What is null is not kept: it is mostly somebody's mistake. Forgets all when it is full. */
export function byText<V extends object>(work: (text: string) => V): (text: string) => V
export function byText<V extends object>(work: (text: string) => V | null): (text: string) => V | null
export function byText<V extends object>(work: (text: string) => V | null): (text: string) => V | null {
  const known = new Map<string, V>()
  return (text) => {
    const held = known.get(text)
    if (held != null) return held
    const value = work(text)
    if (value == null) return null
    if (known.size >= textsMax) known.clear()
    known.set(text, value)
    return value
  }
}

/** Routes or services of a large host, some 10 MB of them. */
const textsMax = 65_536
