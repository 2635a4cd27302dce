import { inBatches } from './batches.ts'
import { MalformedError } from './bytes.ts'
import { Document, type Applicable, type SavedDocument } from './document.ts'
import type { UnsavedFold } from './document-aside.ts'
import type { Entry } from './entries.ts'
import type { Ledger } from './ledger.ts'
import { applyBatchMax, documentOwedMax, snapshotEveryShare } from './limits.ts'
import { packed, type PackedChanges } from './packed-changes.ts'
import type { SavedFold } from './saved-fold.ts'
import type { SortedMap } from './sorted-map.ts'

/**
 * The document behind a fold. It is told of each change that counts, which is all that its heads need, and is given them when
 * something else is asked of it.
 */
export class FoldDocument {
  readonly #ledger: Ledger
  readonly #chunkOf: (entry: Entry) => Uint8Array
  #made: Document
  /** Indices of the changes that it has been told of and not given yet. */
  #deferred: number[] = []

  /** `chunkOf`: what is in the envelope of a change. */
  constructor(
    ledger: Ledger,
    actor: string,
    chunkOf: (entry: Entry) => Uint8Array,
    saved: SavedDocument | null = null
  ) {
    this.#ledger = ledger
    this.#chunkOf = chunkOf
    this.#made = new Document(ledger.genesis.chunk, actor, saved)
  }

  /** It is in memory, some MB for a thousand records. */
  get isOpen(): boolean {
    return this.#made.isOpen
  }

  /** How many changes it has not been given yet. */
  get owed(): number {
    return this.#deferred.length
  }

  heads(): SortedMap<true> {
    return this.#made.heads()
  }

  /** At the beginning: it lacks some changes, and comes to these heads with them. MalformedError when they cannot. */
  restore({ owed, tips }: Pick<SavedFold, 'owed' | 'tips'>): void {
    const { entries } = this.#ledger
    const isCounting = owed.every((index) => entries.at(index)?.valid === true)
    if (!isCounting) throw new MalformedError('its document lacks what does not count')
    this.#deferred = owed.slice()
    if (tips == null) {
      for (const batch of this.#inBatches(owed)) this.#made.expect(this.#applicable(batch))
    } else if (tips.every((hash) => this.#ledger.get(hash)?.valid === true)) {
      this.#made.expectUpTo(tips, owed.length)
    } else throw new MalformedError('its heads do not count')
  }

  /** Tells it of changes that count; all that they build on it has been told of. */
  hold(entries: readonly Entry[]): void {
    this.#made.expect(this.#applicable(entries))
    for (const { index } of entries) this.#deferred.push(index)
  }

  /** With all in it that it was told of. `refused` is called for what Automerge does not take, and has it made anew: {@link sift}. */
  opened(refused: (indices: readonly number[], cause: unknown) => void): Document {
    const deferred = this.#deferred
    if (deferred.length === 0) return this.#made
    this.#deferred = []
    try {
      for (const batch of this.#inBatches(deferred)) this.#made.give(this.#applicable(batch))
    } catch (error) {
      refused(deferred, error)
    }
    return this.#made
  }

  /**
   * Automerge refused something that was signed and well-formed, or broke on it. Which change it was is found by taking one
   * after the other, on a document made anew of `sound`, where those that it takes are put too. `counts` says of each whether it
   * does with those before it, `forbid` is called for those that it does not take.
   */
  sift(
    actor: string,
    sound: Entry[],
    doubtful: readonly number[],
    { counts, forbid }: { counts: (entry: Entry) => boolean; forbid: (entry: Entry) => void }
  ): void {
    const anew = (): Document => {
      const document = new Document(this.#ledger.genesis.chunk, actor)
      document.apply(this.#applicable(sound))
      return document
    }
    // A document that has broken once is not even asked to free its memory: the collector does that.
    this.#made = anew()
    for (const entry of this.#entriesAt(doubtful)) {
      if (!counts(entry)) continue
      try {
        this.#made.apply(this.#applicable([entry]))
        for (const { kind, id } of entry.touches) this.#made.read(kind, id)
        sound.push(entry)
      } catch {
        forbid(entry)
        this.#made = anew()
      }
    }
  }

  /** What it was saved as last, and what that lacks; null when it is open. */
  saveAsIs(): (Pick<SavedFold, 'owed' | 'tips'> & { document: SavedDocument | null }) | null {
    if (this.#made.isOpen) return null
    return { document: this.#made.saved, owed: this.#deferred.slice(), tips: [...this.#made.heads().keys()] }
  }

  /** null when it is open, or may lack some changes and what was saved lacks no more. */
  unsaved({ mayLackSome }: { mayLackSome: boolean }): UnsavedFold | null {
    const [made, deferred] = [this.#made, this.#deferred]
    const { length } = deferred
    const least = Math.max(documentOwedMax, this.#ledger.entries.length * snapshotEveryShare)
    if (made.isOpen || (mayLackSome && made.saved != null && length < least)) return null
    const document = { genesis: this.#ledger.genesis.chunk, saved: made.saved, changes: this.#packed(deferred) }
    const heads = [...made.heads().keys()].join()
    const settle = (saved: SavedDocument): boolean => {
      if (saved.heads.toSorted().join() !== heads) throw new Error('the document was saved as another one')
      if (this.#made !== made || this.#deferred !== deferred || made.isOpen) return false
      made.given(saved, length)
      this.#deferred = deferred.slice(length)
      return true
    }
    return { document, settle }
  }

  /** Gives the memory back, until something is asked again. `saved`: what the document has just been saved as. */
  close(saved: SavedDocument): void {
    this.#made.close(saved)
  }

  /** Gives the memory back. It must not be used any more. */
  free(): void {
    this.#made.free()
    this.#deferred = []
  }

  *#inBatches(indices: readonly number[]): Generator<Entry[]> {
    yield* inBatches(this.#entriesAt(indices), applyBatchMax)
  }

  *#entriesAt(indices: readonly number[]): Generator<Entry> {
    for (const index of indices) yield this.#ledger.entries.at(index) as Entry
  }

  #packed(indices: readonly number[]): PackedChanges {
    let size = 0
    for (const { length } of this.#entriesAt(indices)) size += length
    const chunks = this.#entriesAt(indices).map((entry) => this.#chunkOf(entry))
    return packed(chunks, indices.length, size)
  }

  #applicable(entries: readonly Entry[]): Applicable[] {
    return entries.map((entry) => ({ hash: entry.hash, chunk: this.#chunkOf(entry) }))
  }
}
