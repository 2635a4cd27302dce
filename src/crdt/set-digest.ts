import { createHash } from 'node:crypto'

const BUCKETS = 64

/**
 * One hash for a set of hashes (hex), whatever the order in which they came: SHA-256 over the SHA-256 of each of 64
 * buckets, of a bucket's members in ascending order. One more member costs its bucket and not the set.
 */
export class SetDigest {
  readonly #members: Array<readonly string[]>
  readonly #digests: Array<Buffer | null>
  #value: string | null = null

  constructor(hashes: Iterable<string> = []) {
    const members = Array.from({ length: BUCKETS }, (): string[] => [])
    for (const hash of hashes) members[bucketOf(hash)]?.push(hash)
    this.#members = members
    this.#digests = members.map(() => null)
  }

  /** `hash` must not be in it yet. */
  add(hash: string): void {
    const bucket = bucketOf(hash)
    this.#members[bucket] = [...(this.#members[bucket] ?? []), hash]
    this.#digests[bucket] = null
    this.#value = null
  }

  /** Hex. */
  get value(): string {
    return (this.#value ??= this.#digest())
  }

  #digest(): string {
    const whole = createHash('sha256')
    for (const [i, members] of this.#members.entries()) {
      const digest = (this.#digests[i] ??= members.length === 0 ? EMPTY : sha256(members.toSorted().join('')))
      whole.update(digest)
    }
    return whole.digest('hex')
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
const EMPTY = sha256('')
const bucketOf = (hash: string): number => Number.parseInt(hash.slice(0, 2), 16) % BUCKETS
