/**
 * An immutable map in the order of its keys. A change copies one chunk and the list of chunks, so a snapshot of 10,000
 * records costs microseconds, and two snapshots can be compared by what they do not share.
 */
export class SortedMap<V> implements ReadonlyMap<string, V> {
  readonly size: number
  readonly #chunks: ReadonlyArray<Chunk<V>>

  static readonly empty: SortedMap<never> = new SortedMap<never>([], 0)

  private constructor(chunks: ReadonlyArray<Chunk<V>>, size: number) {
    this.#chunks = chunks
    this.size = size
  }

  static of<V>(map: ReadonlyMap<string, V>): SortedMap<V> {
    const entries = [...map].sort(([a], [b]) => (a < b ? -1 : 1))
    const chunks: Array<Chunk<V>> = []
    for (let from = 0; from < entries.length; from += CHUNK_MAX) {
      const part = entries.slice(from, from + CHUNK_MAX)
      chunks.push({ keys: part.map(([key]) => key), values: part.map(([, value]) => value) })
    }
    return new SortedMap(chunks, entries.length)
  }

  get(key: string): V | undefined {
    const chunk = this.#chunks[this.#chunkOf(key)]
    if (chunk == null) return undefined
    const at = lowerBound(chunk.keys, key)
    return chunk.keys[at] === key ? chunk.values[at] : undefined
  }

  has(key: string): boolean {
    const chunk = this.#chunks[this.#chunkOf(key)]
    return chunk != null && chunk.keys[lowerBound(chunk.keys, key)] === key
  }

  /** The smallest key that is not below `from`. */
  ceiling(from: string): string | undefined {
    const index = this.#chunkOf(from)
    const chunk = this.#chunks[index]
    return chunk?.keys[lowerBound(chunk.keys, from)] ?? this.#chunks[index + 1]?.keys[0]
  }

  with(key: string, value: V): SortedMap<V> {
    const index = this.#chunkOf(key)
    const chunk = this.#chunks[index]
    if (chunk == null) return new SortedMap([{ keys: [key], values: [value] }], 1)
    const at = lowerBound(chunk.keys, key)
    if (chunk.keys[at] === key) {
      if (chunk.values[at] === value) return this
      const next = { keys: chunk.keys, values: chunk.values.with(at, value) }
      return new SortedMap(this.#chunks.with(index, next), this.size)
    }
    const keys = chunk.keys.toSpliced(at, 0, key)
    const values = chunk.values.toSpliced(at, 0, value)
    // Keys mostly come in order (ULIDs): splitting a last chunk at its end keeps the ones before it full.
    const half = at === keys.length - 1 ? at : keys.length >> 1
    const parts =
      keys.length <= CHUNK_MAX
        ? [{ keys, values }]
        : [
            { keys: keys.slice(0, half), values: values.slice(0, half) },
            { keys: keys.slice(half), values: values.slice(half) }
          ]
    return new SortedMap(this.#chunks.toSpliced(index, 1, ...parts), this.size + 1)
  }

  without(key: string): SortedMap<V> {
    const index = this.#chunkOf(key)
    const chunk = this.#chunks[index]
    if (chunk == null) return this
    const at = lowerBound(chunk.keys, key)
    if (chunk.keys[at] !== key) return this
    if (chunk.keys.length === 1) return new SortedMap(this.#chunks.toSpliced(index, 1), this.size - 1)
    const next = { keys: chunk.keys.toSpliced(at, 1), values: chunk.values.toSpliced(at, 1) }
    return new SortedMap(this.#chunks.with(index, next), this.size - 1)
  }

  /** The entries of this map and of `previous` that the two do not share, each at most once, in the order of keys. */
  *differences(previous: SortedMap<V>): Generator<[key: string, now: V | undefined, before: V | undefined]> {
    const now = this.#unshared(previous)
    const before = previous.#unshared(this)
    let a = now.next()
    let b = before.next()
    while (a.done !== true || b.done !== true) {
      if (b.done === true || (a.done !== true && a.value[0] < b.value[0])) {
        if (a.done === true) return
        yield [a.value[0], a.value[1], undefined]
        a = now.next()
      } else if (a.done === true || b.value[0] < a.value[0]) {
        yield [b.value[0], undefined, b.value[1]]
        b = before.next()
      } else {
        if (a.value[1] !== b.value[1]) yield [a.value[0], a.value[1], b.value[1]]
        a = now.next()
        b = before.next()
      }
    }
  }

  *entries(): MapIterator<[string, V]> {
    for (const { keys, values } of this.#chunks) {
      for (let i = 0; i < keys.length; i++) yield [keys[i] as string, values[i] as V]
    }
  }

  *keys(): MapIterator<string> {
    for (const { keys } of this.#chunks) yield* keys
  }

  *values(): MapIterator<V> {
    for (const { values } of this.#chunks) yield* values
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  forEach(fn: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const { keys, values } of this.#chunks) {
      for (let i = 0; i < keys.length; i++) fn(values[i] as V, keys[i] as string, this)
    }
  }

  *#unshared(other: SortedMap<V>): Generator<[string, V]> {
    const shared = new Set(other.#chunks)
    for (const chunk of this.#chunks) {
      if (shared.has(chunk)) continue
      for (let i = 0; i < chunk.keys.length; i++) yield [chunk.keys[i] as string, chunk.values[i] as V]
    }
  }

  /** The chunk that holds `key`, or would. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#chunks[middle]?.keys[0] as string) <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

interface Chunk<V> {
  readonly keys: readonly string[]
  readonly values: readonly V[]
}

const CHUNK_MAX = 64

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
