import { systemRandom } from '../random.ts'

/** Finds rows by what stands in them: their numbers in an open hash table, from the place on to which their hash points. */
export class RowPlaces {
  readonly #hashOf: (row: number) => number
  /** The number of a row plus one; 0 where there is none. */
  #places = new Uint32Array(PLACES_MIN)
  #length = 0

  /** `hashOf`: of a row that is there. */
  constructor(hashOf: (row: number) => number) {
    this.#hashOf = hashOf
  }

  /** The row of this hash that fits; -1 when there is none. */
  find(hash: number, fits: (row: number) => boolean): number {
    const mask = this.#places.length - 1
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const held = this.#places[place] as number
      if (held === 0 || fits(held - 1)) return held - 1
    }
  }

  /** Puts in the next row, which nobody would find yet. */
  add(): void {
    this.#length++
    // A third of the places is free at least, so that a look finds its own soon.
    if (this.#length * 3 > this.#places.length * 2) this.#spread(this.#places.length * 2)
    else this.#put(this.#length - 1)
  }

  /** Forgets all rows from `length` on. */
  cut(length: number): void {
    if (length >= this.#length) return
    this.#length = length
    this.#spread(this.#places.length)
  }

  /** Finds all their places anew, among so many. */
  #spread(places: number): void {
    this.#places = new Uint32Array(places)
    for (let row = 0; row < this.#length; row++) this.#put(row)
  }

  #put(row: number): void {
    const mask = this.#places.length - 1
    let place = this.#hashOf(row) & mask
    while (this.#places[place] !== 0) place = (place + 1) & mask
    this.#places[place] = row + 1
  }
}

/** A power of two, as there are always. */
const PLACES_MIN = 64

/** What hashes begin with: nobody else can choose names that all have the same. Nothing else depends on it. */
export const HASH_SEED: number = Buffer.from(systemRandom.bytes(4)).readUInt32LE(0)

/** A hash with one more word in it, for the next one or to be used: its low bits depend on all that went in. */
export function mixed(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x85eb_ca6b)
  const turned = Math.imul(product ^ (product >>> 13), 0xc2b2_ae35)
  return (turned ^ (turned >>> 16)) >>> 0
}
