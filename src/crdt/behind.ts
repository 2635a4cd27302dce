import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { inBatches } from './batches.ts'
import { copyOf, hex, MalformedError } from './bytes.ts'
import { contradictionOf } from './contradiction.ts'
import { Document, type SavedDocument } from './document.ts'
import { madeAside, type Saver } from './document-aside.ts'
import type { Entry } from './entries.ts'
import { bodyOf, parseEnvelope, statedHash, type Envelope } from './envelope.ts'
import { Fold } from './fold.ts'
import { Intake } from './intake.ts'
import { Ledger, openEnvelope } from './ledger.ts'
import { verifyBatchMax } from './limits.ts'
import type { EnvelopeBytes, ReceiveResult, VersionVector } from './replicated.ts'
import type { PeerId } from './schema.ts'
import type { Verifier } from './signer.ts'
import { decodeSnapshot } from './snapshot.ts'
import type { Storage } from './storage.ts'

/**
 * The history behind a snapshot that was taken over (`hollow.ts`), as it comes in and is verified, beside the state that is
 * shown meanwhile.
 *
 * 1. Of what others hand over, just what the snapshot covers is taken: verified like anything from a stranger, judged,
 *    folded, and durable before it is named in {@link vector}. So whoever is asked next goes on where the last one ended.
 * 2. When all has come, the state that it comes to is compared with what was signed.
 * 3. Equal: it takes the place of the hollow entries. Not equal, or the snapshot shows something that cannot come: the
 *    snapshot is thrown away, and what has been verified so far is what this peer knows.
 */
export class Behind {
  readonly ledger: Ledger
  readonly fold: Fold
  readonly intake: Intake
  readonly #deps: BehindDeps
  readonly #vector: VersionVector = {}
  readonly #chunkOf: (entry: Entry) => Uint8Array
  /** Indices of what did not count in the snapshot. */
  readonly #uncounted = new Set<number>()
  #chunks: Document | null = null
  #running: Promise<unknown> = Promise.resolve()
  /** Entries that are on disk and judged: what has come is neither at first. */
  #verified = 0
  /** What is wrong with the snapshot; null as long as nothing is. */
  flaw: string | null = null

  constructor(deps: BehindDeps) {
    this.#deps = deps
    this.ledger = new Ledger(deps.shown.genesis, deps.storage.scratch)
    this.intake = new Intake(this.ledger, deps.verifier)
    // It outlives the rest, which must not be kept by it.
    const { storage } = deps
    this.#chunkOf = (entry) => bodyOf(entry.bytes ?? storage.readBehind(entry.offset, entry.length))
    this.fold = new Fold(this.ledger, deps.actor, this.#chunkOf, { isSavedAside: deps.saver != null })
    for (const { kind, valid, index } of deps.shown.entries) {
      if (kind !== 'auth' && !valid) this.#uncounted.add(index)
    }
  }

  /** Takes in what is stored, which was verified before. MalformedError when it is not in order. */
  restore(stored: ReadonlyArray<{ offset: number; bytes: Uint8Array }>): void {
    for (const batch of inBatches(stored, verifyBatchMax)) {
      const added = batch.map(({ bytes, offset }) => {
        const item = openEnvelope(parseEnvelope(copyOf(bytes)), { own: true })
        if (this.ledger.waitsFor(item) != null) throw new MalformedError('the history behind it is not in order')
        const entry = this.ledger.add(item)
        entry.offset = offset
        return entry
      })
      // As it came: what is read of a change is gone once it is folded.
      this.fold.integrate(added)
      for (const entry of added) this.#stored(entry)
    }
  }

  /** Of the snapshot, hex. */
  get digest(): string {
    return this.#deps.digest
  }

  get actor(): string {
    return this.#deps.actor
  }

  /** Entries that have been verified, of so many that the snapshot covers. */
  get progress(): { verified: number; entries: number } {
    return { verified: this.#verified, entries: this.#deps.covered }
  }

  get isComplete(): boolean {
    return this.#verified === this.#deps.covered
  }

  /** What has come; the auth log, which is whole already, as it is. */
  vector(shown: VersionVector): VersionVector {
    const vector = { ...this.#vector }
    for (const { actor } of this.#deps.shown.authEntries()) vector[actor] = shown[actor] ?? 0
    for (const actor of this.ledger.provenActors()) {
      const seq = (this.ledger.provenFrom(actor) ?? 1) - 1
      if (seq < (vector[actor] ?? 0)) vector[actor] = seq
    }
    return vector
  }

  /** What is in the envelope of a hollow entry, as it has come or as the snapshot has it; null for what did not count there. */
  chunkOf({ hash, index }: Entry): Uint8Array | null {
    if (this.#uncounted.has(index)) return null
    const verified = this.ledger.get(hash)
    if (verified != null) return this.#chunkOf(verified)
    this.#chunks ??= new Document(new Uint8Array(), undefined, this.#deps.document)
    return this.#chunks.chunk(hash)
  }

  /** Step 1. Resolves when durable. UnavailableError when the disk refuses. */
  receive(envelopes: EnvelopeBytes[]): Promise<ReceiveResult> {
    const next = this.#running.then(() => this.#receive(envelopes))
    this.#running = next.catch(() => {})
    return next
  }

  /** Resolves when nothing that has come is still on its way to the disk. */
  async settled(): Promise<void> {
    await this.#running
  }

  /** Step 2; null when it is what was signed. */
  async contradiction(): Promise<string | null> {
    const file = await this.#deps.storage.readSnapshot()
    if (file == null) return 'it is not here any more, so it cannot be compared'
    const { saver, log } = this.#deps
    const unsaved = saver == null ? null : this.fold.unsaved({ mayLackSome: false })
    // It is as large as the whole history, and the one that is shown stands in memory meanwhile.
    if (saver != null && unsaved != null) await madeAside(unsaved, { saver, load: () => this.fold.load(), log })
    return contradictionOf(decodeSnapshot(file), { ledger: this.ledger, fold: this.fold, chunkOf: this.#chunkOf })
  }

  /** `by` has handed over all that it has of it: of what it has signed itself there is no more. */
  ended(by: PeerId, mayMiss: boolean): void {
    const missing = this.#deps.covered - this.ledger.entries.length
    if (missing === 0 || mayMiss) return
    this.flaw ??= `${missing} of the entries that it names are not known to ${by}`
  }

  /** Gives the memory back that is not needed once it is over. */
  free(): void {
    this.#chunks?.free()
    this.#chunks = null
  }

  async #receive(envelopes: EnvelopeBytes[]): Promise<ReceiveResult> {
    const result: ReceiveResult = { accepted: 0, known: 0, refused: [], gap: false }
    await this.intake.inBatches(envelopes, this.#deps.clock, async (batch) => {
      const added: Entry[] = []
      for (const bytes of batch) {
        const outcome = this.#take(bytes, added)
        if (outcome === 'known') result.known++
        else if (outcome === 'waiting') result.gap = true
        else if (outcome !== 'accepted') result.refused.push({ reason: `the envelope is not good: ${outcome.refused}` })
      }
      await this.#store(added)
      result.accepted += added.length
    })
    return result
  }

  #take(bytes: EnvelopeBytes, added: Entry[]): ReturnType<Intake['take']> {
    const stated = statedHash(bytes)
    if (stated != null && this.ledger.get(hex(stated)) != null) return 'known'
    if (stated != null && this.#covers(hex(stated))) return this.intake.take(bytes, added)
    // Beyond what the snapshot covers it is no business of this; within it, the snapshot names something else.
    const claim = claimOf(bytes)
    if ('refused' in claim) return claim
    const { shown } = this.#deps
    const named = shown.at(claim.actor, claim.seq)
    const isProven = claim.seq >= (shown.provenFrom(claim.actor) ?? Infinity)
    if (named == null || named.index >= this.#deps.covered || isProven) return 'known'
    if (this.intake.check(bytes) !== 'accept') return { refused: "its author's signature is wrong" }
    this.flaw ??= `it names another change as number ${claim.seq} of ${claim.authorId} than the one that was signed`
    return 'known'
  }

  #covers(hash: string): boolean {
    const entry = this.#deps.shown.get(hash)
    return entry != null && entry.index < this.#deps.covered
  }

  async #store(added: Entry[]): Promise<void> {
    if (added.length === 0) return
    const before = this.ledger.entries.length - added.length
    let offsets: number[]
    try {
      offsets = await this.#deps.storage.appendBehind(added.map((entry) => entry.bytes as Uint8Array))
    } catch (error) {
      this.ledger.cut(before)
      this.intake.clear()
      throw error
    }
    this.fold.integrate(added)
    for (const [i, entry] of added.entries()) {
      entry.offset = offsets[i] as number
      this.#stored(entry)
    }
  }

  #stored(entry: Entry): void {
    this.#verified++
    entry.dropBytes()
    if (this.ledger.hasPlace(entry)) this.#vector[entry.actor] = entry.seq
  }
}

function claimOf(bytes: EnvelopeBytes): Envelope | { refused: string } {
  try {
    return parseEnvelope(bytes)
  } catch (error) {
    if (error instanceof MalformedError) return { refused: error.message }
    throw error
  }
}

export interface BehindDeps {
  /** What is shown meanwhile; its first `covered` entries are those of the snapshot. */
  shown: Ledger
  covered: number
  /** Of the snapshot. */
  digest: string
  document: SavedDocument
  /** Who this peer writes as. */
  actor: string
  storage: Storage
  clock: Clock
  verifier: Verifier | null
  saver: Saver | null
  log: Logger
}
