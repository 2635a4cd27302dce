import { createHash } from 'node:crypto'
import type { Random } from '../src/random.ts'

/**
 * Randomness from a seed. Every user has a stream of its own, forked by name, so that one that asks once more does not
 * shift all the others. The generator is sfc32 (Chris Doty-Humphrey, PractRand).
 */
export class SeededRandom implements Random {
  readonly #name: string
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(name: string) {
    this.#name = name
    const state = createHash('sha256').update(name).digest()
    this.#a = state.readInt32LE(0)
    this.#b = state.readInt32LE(4)
    this.#c = state.readInt32LE(8)
  }

  fork(name: string): SeededRandom {
    return new SeededRandom(`${this.#name}/${name}`)
  }

  float(): number {
    return this.#next() / 2 ** 32
  }

  bytes(n: number): Uint8Array {
    const bytes = new Uint8Array(n)
    for (let i = 0; i < n; i++) bytes[i] = this.#next() & 0xff
    return bytes
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.float() * (max - min + 1))
  }

  between(min: number, max: number): number {
    return min + this.float() * (max - min)
  }

  chance(share: number): boolean {
    return this.float() < share
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.float() * list.length)] as T
  }

  /** `count` different ones of a list, in random order. */
  sample<T>(list: readonly T[], count: number): T[] {
    const left = [...list]
    const found: T[] = []
    while (found.length < count && left.length > 0) found.push(...left.splice(this.integer(0, left.length - 1), 1))
    return found
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }
}
