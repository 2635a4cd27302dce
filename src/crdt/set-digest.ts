import { createHash } from 'node:crypto'

const BUCKETS = 64

/** Never changed but for its digest, which is computed when somebody asks. */
interface Bucket {
  readonly members: readonly string[]
  digest: Buffer | null
}

/**
 * One hash for a set of hashes (hex), whatever the order in which they came: SHA-256 over the SHA-256 of each of 64
 * buckets, of a bucket's members in ascending order. One more member costs its bucket and not the set, and nothing more
 * until somebody reads the hash.
 */
export class SetDigest {
  #buckets: readonly Bucket[]
  #reading: (() => string) | null = null

  constructor(hashes: Iterable<string> = []) {
    const members = Array.from({ length: BUCKETS }, (): string[] => [])
    for (const hash of hashes) members[bucketOf(hash)]?.push(hash)
    this.#buckets = members.map((of) => ({ members: of, digest: null }))
  }

  /** `hash` must not be in it yet. */
  add(hash: string): void {
    const at = bucketOf(hash)
    this.#buckets = this.#buckets.with(at, { members: [...(this.#buckets[at]?.members ?? []), hash], digest: null })
    this.#reading = null
  }

  /** Hex. */
  get value(): string {
    return this.reading()()
  }

  /** What {@link value} is now, for whoever may want to know it later. */
  reading(): () => string {
    return (this.#reading ??= readingOf(this.#buckets))
  }
}

function readingOf(buckets: readonly Bucket[]): () => string {
  let value: string | null = null
  return () => (value ??= digest(buckets))
}

function digest(buckets: readonly Bucket[]): string {
  const whole = createHash('sha256')
  for (const bucket of buckets) {
    bucket.digest ??= bucket.members.length === 0 ? EMPTY : sha256(bucket.members.toSorted().join(''))
    whole.update(bucket.digest)
  }
  return whole.digest('hex')
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
const EMPTY = sha256('')
const bucketOf = (hash: string): number => Number.parseInt(hash.slice(0, 2), 16) % BUCKETS
