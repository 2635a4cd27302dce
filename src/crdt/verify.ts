import { isoTime, type Clock } from '../clock.ts'
import { MalformedError } from './bytes.ts'
import type { Cluster } from './cluster.ts'
import { isGenesisChunk } from './document.ts'
import { bodyOf, parseEnvelope } from './envelope.ts'
import { Fold } from './fold.ts'
import { parseGenesis, type Genesis } from './genesis.ts'
import { Intake } from './intake.ts'
import { Ledger } from './ledger.ts'
import type { Entry } from './entries.ts'
import { verifyBatchMax } from './limits.ts'
import type { PeerId } from './schema.ts'

/** What was found when everything that is held was verified again, as if a stranger had handed it over. */
export interface Verification {
  /** ISO 8601, by the founder's clock. */
  foundedAt: string
  founder: PeerId
  /** Envelopes read, hashed, and their signatures verified, up to the first flaw. */
  verified: number
  /** Of those: changes and entries of the auth log; and those among them that do not count. */
  changes: number
  authEntries: number
  invalid: number
  authors: number
  bytes: number
  /** The first; null when there is none. */
  flaw: Flaw | null
}

export interface Flaw {
  /** Its place in the log of this peer, from 1; 0 is the genesis. */
  position: number
  /** Hash and author as they were held; null for the genesis, and for the state as a whole. */
  id: string | null
  author: PeerId | null
  /** A sentence. */
  message: string
}

/**
 * From the genesis on, in the order of the log, everything is read from the disk once more:
 *
 * 1. the genesis is signed by the founder, and makes what every peer begins with;
 * 2. each envelope is the one that is held under that hash, its signature is its author's for this cluster, what is inside
 *    is in its one proper form, and all that it builds on comes before it (so no hash chain has a gap);
 * 3. who may write what is decided anew, and what counts is folded anew: it must come to the heads that this peer shows.
 */
export async function verifyHistory(cluster: Cluster, clock: Clock): Promise<Verification> {
  const entries = cluster.durable()
  const { heads } = cluster.view
  const { genesis, flaw } = verifiedGenesis(cluster)
  const run = new Run(cluster, genesis)
  if (flaw == null) {
    for (const [i, entry] of entries.entries()) {
      if (i % verifyBatchMax === verifyBatchMax - 1) {
        run.fold()
        await clock.sleep(0)
      }
      if (!run.take(entry, i + 1)) break
    }
  }
  return run.end(flaw, heads)
}

function verifiedGenesis({ genesis }: Cluster): { genesis: Genesis; flaw: Flaw | null } {
  const found = (message: string): { genesis: Genesis; flaw: Flaw } => ({
    genesis,
    flaw: { position: 0, id: null, author: null, message: `the genesis is not good: ${message}` }
  })
  try {
    const again = parseGenesis(genesis.bytes)
    if (again.clusterId !== genesis.clusterId) return found('it is of another cluster')
    return isGenesisChunk(again.chunk) ? { genesis: again, flaw: null } : found('it does not make what it has to')
  } catch (error) {
    if (error instanceof MalformedError) return found(error.message)
    throw error
  }
}

class Run {
  readonly #cluster: Cluster
  readonly #genesis: Genesis
  readonly #ledger: Ledger
  readonly #intake: Intake
  readonly #fold: Fold
  #added: Entry[] = []
  #verified = 0
  #bytes = 0
  #flaw: Flaw | null = null

  constructor(cluster: Cluster, genesis: Genesis) {
    this.#cluster = cluster
    this.#genesis = genesis
    this.#ledger = new Ledger(genesis)
    this.#intake = new Intake(this.#ledger)
    this.#fold = new Fold(this.#ledger, VERIFYING_ACTOR, (entry) => bodyOf(entry.bytes as Uint8Array))
  }

  /** False when it is not good. */
  take(entry: Entry, position: number): boolean {
    const { hash: id, authorId: author } = entry
    const message = this.#flawOf(entry)
    if (message != null) this.#flaw = { position, id, author, message }
    else this.#verified++
    return message == null
  }

  fold(): void {
    this.#fold.integrate(this.#added)
    this.#added = []
  }

  end(flaw: Flaw | null, heads: readonly string[]): Verification {
    this.fold()
    const { view } = this.#fold
    const { entries } = this.#ledger
    this.#flaw ??= flaw
    // Only of a whole history it can be told what comes out of it.
    if (this.#flaw == null && view.heads.join() !== heads.join()) {
      const message = 'what counts of it comes to another state than this peer shows; restart the agent'
      this.#flaw = { position: entries.length, id: null, author: null, message }
    }
    const auth = this.#ledger.authEntries()
    const verification = {
      foundedAt: isoTime(this.#genesis.createdAt),
      founder: this.#genesis.founder,
      verified: this.#verified,
      changes: entries.length - auth.length,
      authEntries: auth.length,
      invalid: entries.filter((entry) => this.#fold.reasonAgainst(entry) != null).length,
      authors: new Set([...entries].map(({ authorId }) => authorId)).size,
      bytes: this.#bytes,
      flaw: this.#flaw
    }
    this.#fold.free()
    return verification
  }

  #flawOf(entry: Entry): string | null {
    let bytes: Uint8Array
    try {
      bytes = this.#cluster.bytesOf(entry)
      if (parseEnvelope(bytes).hash !== entry.hash) return 'the disk holds another envelope in its place'
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      return error instanceof MalformedError ? `the envelope is not good: ${why}` : `it cannot be read: ${why}`
    }
    this.#bytes += bytes.length
    const outcome = this.#intake.take(bytes, this.#added)
    if (outcome === 'waiting') return 'something that it builds on is missing before it'
    return typeof outcome === 'object' ? `the envelope is not good: ${outcome.refused}` : null
  }
}

/** Nobody writes while verifying. */
const VERIFYING_ACTOR = 'ff'.repeat(36)
