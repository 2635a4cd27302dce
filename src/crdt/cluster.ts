import { asCaller, viaNow } from '../caller.ts'
import { UnavailableError } from '../errors.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { encodeProof, withVia } from './authlog.ts'
import { operationsOf, viaOf, type FieldValue, type Kind, type Writer } from './document.ts'
import { actorOf, bodyOf, envelopeKindNumber, parseEnvelope, sealEnvelope } from './envelope.ts'
import { MalformedError } from './bytes.ts'
import { Fold, type SavedFold } from './fold.ts'
import type { Genesis } from './genesis.ts'
import { Intake } from './intake.ts'
import { intentsOf, type Intent } from './intent.ts'
import { Ledger, openEnvelope, type Entry, type Unheld } from './ledger.ts'
import { encodeNote, parseNote, type ActorNote } from './note.ts'
import type { EnvelopeBytes, ReceiveResult, VersionVector } from './replicated.ts'
import { reissueRecordsMax, snapshotEveryShare, verifyBatchBytesMax, verifyBatchMax } from './limits.ts'
import { reissueOf } from './reissue.ts'
import type { PeerId } from './schema.ts'
import type { Signer } from './signer.ts'
import { capture, encodeSnapshot, restoreEntries, withOffsets, type Captured, type Snapshot } from './snapshot.ts'
import type { Storage } from './storage.ts'
import { membersOf } from './validity.ts'
import type { View } from './view.ts'

/**
 * The state of the cluster that this peer is in. Memory runs ahead of the disk by what is being written: ledger and
 * fold take a change at once, so that the next one can build on it and both share an fdatasync; the view that others
 * see, the vector and gossip follow when the disk has it. When the disk refuses, memory goes back to what is durable.
 */
export class Cluster {
  readonly genesis: Genesis
  readonly #deps: ClusterDeps
  readonly #ledger: Ledger
  readonly #fold: Fold
  readonly #intake: Intake
  /** Entries that are on disk: the first so many of the ledger. */
  #durable = 0
  #vector: VersionVector = {}
  #view: View
  #lastWrittenAt = 0
  /** The last append failed: try the disk before taking anything more. */
  #doubtful = false
  #renewing: Promise<void> | null = null
  #mending: 'no' | 'yes' | 'busy' = 'no'

  /** Entries of the last snapshot, or of the last attempt at one. */
  #snapshotOf = 0
  #snapshotting = false

  /**
   * Takes up what a snapshot of this cluster has of the first entries, and reads back those after it. MalformedError when
   * the snapshot is of another cluster, or the rules have changed since.
   */
  static restore(genesis: Genesis, snapshot: Snapshot, stored: Stored[], deps: ClusterDeps): Cluster {
    const { head, document } = snapshot
    if (head.cluster !== genesis.clusterId) throw new MalformedError('it is of another cluster')
    const ledger = new Ledger(genesis)
    restoreEntries(ledger, head)
    const saved = { document: { bytes: document, heads: head.heads }, records: head.records }
    const cluster = new Cluster(genesis, ledger, deps, saved)
    cluster.#settle(
      ledger.entries,
      ledger.entries.map(({ offset }) => offset)
    )
    cluster.#snapshotOf = ledger.entries.length
    const added = stored.map(({ bytes }) => readBack(ledger, bytes))
    if (added.length > 0) cluster.#fold.integrate(added)
    cluster.#settle(
      added,
      stored.map(({ offset }) => offset)
    )
    cluster.#view = cluster.#fold.view
    return cluster
  }

  /** Reads back what is stored, without verifying signatures: they were verified before it was stored. */
  static load(genesis: Genesis, stored: Stored[], deps: ClusterDeps): Cluster {
    const ledger = new Ledger(genesis)
    for (const { bytes } of stored) readBack(ledger, bytes)
    const cluster = new Cluster(genesis, ledger, deps)
    cluster.#settle(
      ledger.entries,
      stored.map(({ offset }) => offset)
    )
    return cluster
  }

  /** Verifies all of a cluster's history that a member handed over, then stores it, whole or not at all. */
  static async adopt(genesis: Genesis, envelopes: EnvelopeBytes[], deps: ClusterDeps): Promise<Cluster> {
    const ledger = new Ledger(genesis)
    const intake = new Intake(ledger)
    const added: Entry[] = []
    for (const [i, bytes] of envelopes.entries()) {
      if (i % verifyBatchMax === verifyBatchMax - 1) await deps.clock.sleep(0)
      const outcome = intake.take(bytes, added)
      if (typeof outcome === 'object') {
        throw new UnavailableError(
          `the member there sent a broken history (${outcome.refused}); join by another member`
        )
      }
    }
    const cluster = new Cluster(genesis, ledger, deps)
    if (!cluster.view.members.has(deps.signer.peerId)) {
      throw new UnavailableError('the member there sent a history without this peer in it; try again')
    }
    const offsets = await deps.storage.create(
      genesis.bytes,
      added.map((entry) => cluster.bytesOf(entry))
    )
    cluster.#settle(added, offsets)
    return cluster
  }

  private constructor(genesis: Genesis, ledger: Ledger, deps: ClusterDeps, saved: SavedFold | null = null) {
    this.genesis = genesis
    this.#deps = deps
    this.#ledger = ledger
    this.#intake = new Intake(ledger)
    const actor = actorOf('change', deps.signer.publicKey, deps.storage.incarnation)
    this.#fold = new Fold(ledger, actor, (entry) => bodyOf(this.bytesOf(entry)), membersOf, saved)
    this.#view = this.#fold.view
  }

  /** What is durable. */
  get view(): View {
    return this.#view
  }

  /** What will be durable if all that is being written succeeds; what a write is checked against. */
  get fold(): Fold {
    return this.#fold
  }

  /** Holds entries whose envelopes are not here yet; see `behind.ts`. */
  get isHollow(): boolean {
    return false
  }

  get ledger(): Ledger {
    return this.#ledger
  }

  vector(): VersionVector {
    const vector = { ...this.#vector }
    // Of what cannot be told apart all is wanted, whatever number it bears.
    for (const actor of this.#ledger.provenActors()) {
      const seq = (this.#ledger.provenFrom(actor) ?? 1) - 1
      if (seq < (vector[actor] ?? 0)) vector[actor] = seq
    }
    return vector
  }

  /** Entries that are on disk, in the order of the log. */
  durable(): readonly Entry[] {
    return this.#ledger.entries.slice(0, this.#durable)
  }

  /** All auth entries, in the order of the log. */
  authLog(): EnvelopeBytes[] {
    return this.durable().flatMap((entry) => (entry.auth == null ? [] : [this.bytesOf(entry)]))
  }

  /** Auth entries up to the last one that throws `peer` out; none when nothing does. */
  farewell(peer: PeerId): EnvelopeBytes[] {
    const entries = this.durable()
    const last = entries.findLastIndex(
      (entry) =>
        entry.auth?.peer === peer &&
        (entry.auth.operation === 'revoke' || entry.auth.operation === 'proof') &&
        this.#fold.reasonAgainst(entry) == null
    )
    return entries.slice(0, last + 1).flatMap((entry) => (entry.auth == null ? [] : [this.bytesOf(entry)]))
  }

  *missing(vector: VersionVector, maxBytes: number): Generator<EnvelopeBytes[]> {
    let chunk: EnvelopeBytes[] = []
    let size = 0
    for (const entry of this.#ledger.missing(vector, this.#durable)) {
      if (chunk.length > 0 && size + entry.length > maxBytes) {
        yield chunk
        chunk = []
        size = 0
      }
      chunk.push(this.bytesOf(entry))
      size += entry.length
    }
    if (chunk.length > 0) yield chunk
  }

  check(envelope: EnvelopeBytes): 'accept' | 'ignore' | 'reject' {
    return this.#intake.check(envelope)
  }

  async receive(envelopes: EnvelopeBytes[]): Promise<ReceiveResult> {
    const result: ReceiveResult = { accepted: 0, known: 0, refused: [], gap: false }
    await this.ready()
    const stored: Array<Promise<void>> = []
    for (const [i, batch] of batches(envelopes).entries()) {
      if (i > 0) await this.#deps.clock.sleep(0)
      const added: Entry[] = []
      for (const bytes of batch) {
        const outcome = this.#intake.take(bytes, added)
        if (outcome === 'known') result.known++
        else if (outcome === 'waiting') result.gap = true
        else if (outcome !== 'accepted') result.refused.push({ reason: `the envelope is not good: ${outcome.refused}` })
      }
      result.accepted += added.length
      if (added.length === 0) continue
      this.#fold.integrate(added)
      const storing = this.#store(added, false)
      // A later batch may be verified while this one is written; whether all is durable is asked at the end.
      storing.catch(() => {})
      stored.push(storing)
    }
    await Promise.all(stored)
    await this.#convict()
    this.#mend()
    return result
  }

  /**
   * Resolves when the disk takes data, as far as is known. Whoever checks something and then writes must ask first, for
   * between the check and the write there must be no waiting. UnavailableError.
   */
  async ready(): Promise<void> {
    if (this.#doubtful) {
      await this.#deps.storage.probe()
      this.#doubtful = false
    }
    if (this.#isOutOfNumbers()) await (this.#renewing ??= this.#renew().finally(() => (this.#renewing = null)))
  }

  /**
   * A change of this peer's own fell out: the document does not know it, yet its number is used, and the next one by the
   * same actor would bear it again.
   */
  #isOutOfNumbers(): boolean {
    const { signer, storage } = this.#deps
    const actor = actorOf('change', signer.publicKey, storage.incarnation)
    const last = this.#ledger.at(actor, this.#ledger.count(actor))
    return last != null && !last.valid
  }

  async #renew(): Promise<void> {
    const { signer, storage } = this.#deps
    await storage.renewIncarnation()
    this.#fold.writeAs(actorOf('change', signer.publicKey, storage.incarnation))
  }

  /** Writes down the proof that somebody signed two things as one, once for each. */
  async #convict(): Promise<void> {
    for (const { held, bytes } of this.#intake.found.splice(0)) {
      if (this.#ledger.provenFrom(held.actor) != null || !this.#isMember()) continue
      const { authorId: peer } = held
      const envelopes = [this.bytesOf(held), bytes] as const
      this.#deps.log.error({ peer, seq: held.seq }, 'a peer has signed two things as one; it is revoked by the proof')
      const cut = this.#ledger.cutOf(peer)
      for (const envelope of envelopes) {
        const { actor, seq } = parseEnvelope(envelope)
        cut.set(actor, Math.min(seq - 1, cut.get(actor) ?? seq - 1))
      }
      await this.authorize((previous) => encodeProof({ previous, peer, cut, envelopes }))
    }
  }

  #isMember(): boolean {
    return this.#fold.membership.members.has(this.#deps.signer.peerId)
  }

  /** Writes again, in the background, what of this peer's own has fallen out through no fault of its own. */
  #mend(): void {
    if (this.#fold.lost) this.#mending = 'yes'
    this.#fold.lost = false
    if (this.#mending !== 'yes') return
    this.#mending = 'busy'
    asCaller(null, () => this.#reissue())
      .then((waiting) => (this.#mending = waiting || this.#mending === 'yes' ? 'yes' : 'no'))
      .catch((error: unknown) => {
        this.#mending = 'yes'
        this.#deps.log.warn({ error }, 'what fell out could not be written again; it is tried with the next change')
      })
  }

  /** As {@link #mend}, for what fell out before this start. */
  mend(): void {
    this.#fold.lost = true
    this.#mend()
  }

  async #reissue(): Promise<boolean> {
    await this.ready()
    if (!this.#isMember()) return false
    const self = this.#deps.signer.peerId
    const isAdmin = this.#fold.membership.members.get(self)?.role === 'admin'
    const { puts, removals, waiting } = reissueOf({
      self,
      entries: this.#ledger.entries,
      isLost: (entry) => !entry.valid && this.#fold.isSound(entry),
      intentsOf: (entry) => this.intentsOf(entry),
      exists: (kind, id) => this.#fold.has(kind, id)
    })
    const all: Array<{ kind: Kind; id: string; fields?: Record<string, FieldValue> }> = [...puts, ...removals]
    const allowed = all.filter(({ kind, id }) => isAdmin || (kind === 'peers' && id === self))
    for (let i = 0; i < allowed.length; i += reissueRecordsMax) {
      const part = allowed.slice(i, i + reissueRecordsMax)
      this.#deps.log.info({ records: part.length }, 'writes again what fell out with what it was built on')
      await this.ready()
      await this.change((writer) => {
        for (const record of part) {
          if (record.fields == null) writer.remove(record.kind, record.id)
          else writer.put(record.kind, record.id, record.fields)
        }
      })
    }
    return waiting
  }

  /** What a change wants; see `intent.ts`. */
  intentsOf(entry: Entry): Intent[] {
    return intentsOf(operationsOf(bodyOf(this.bytesOf(entry))).list, this.#ledger.touches)
  }

  /** On whose behalf its author made a change; null when on nobody's, or when it says something else. */
  viaOf(entry: Entry): string | null {
    return entry.operationCount === 0 ? null : viaOf(bodyOf(this.bytesOf(entry)))
  }

  /** What an entry says of an actor; null for one that says nothing, or changes something. */
  noteOf(entry: Entry): ActorNote | null {
    if (entry.kind !== 'change' || entry.operationCount > 0) return null
    return parseNote(operationsOf(bodyOf(this.bytesOf(entry))).message)
  }

  /**
   * Makes one change: `write` is called at once, on what `fold.view` shows. Resolves when it is durable; with null when
   * there was nothing to write.
   */
  change(write: (writer: Writer) => void): Promise<Entry | null> {
    return this.#change(() => this.#fold.write(write, viaNow()))
  }

  /** Makes a change that changes nothing and says what was sent to an actor. Resolves when it is durable. */
  async note(note: ActorNote): Promise<void> {
    await this.#change(() => this.#fold.note(encodeNote(note)))
  }

  async #change(make: () => Uint8Array | null): Promise<Entry | null> {
    const { signer, storage } = this.#deps
    if (this.#isOutOfNumbers()) throw new UnavailableError('the state has just changed under this change; ask again')
    const seq = this.#ledger.count(actorOf('change', signer.publicKey, storage.incarnation)) + 1
    const body = make()
    if (body == null) return null
    const item = this.#seal('change', seq, body)
    const entry = this.#ledger.add(item)
    this.#fold.took(entry)
    await this.#stored(entry)
    return entry
  }

  /** Writes an entry of the auth log; `body` gets the hash of the one before it. Resolves when it is durable. */
  async authorize(body: (previous: string) => Uint8Array): Promise<string> {
    const { signer, storage } = this.#deps
    const seq = this.#ledger.count(actorOf('auth', signer.publicKey, storage.incarnation)) + 1
    const entry = this.#ledger.add(
      this.#seal('auth', seq, withVia(body(this.#ledger.lastAuth(signer.peerId)), viaNow()))
    )
    this.#fold.integrate([entry])
    await this.#stored(entry)
    this.#mend()
    return entry.hash
  }

  /** Called by the log at once when it fails: what is not on disk is forgotten, here and by all who wait. */
  onDiskFailure(error: unknown): void {
    this.#deps.log.error({ error }, 'the replicated state cannot be written; writes are refused until the disk is well')
    this.#doubtful = true
    this.#ledger.cut(this.#durable)
    this.#intake.clear()
    this.#fold.rebuild(this.#view.revision)
    // Nothing durable has changed, so nobody is told; but the next view must grow from the one that is known.
    this.#view = this.#fold.view
  }

  /** What waited for an entry made here comes in with it. */
  async #stored(entry: Entry): Promise<void> {
    const released: Entry[] = []
    this.#intake.release(entry, released)
    if (released.length > 0) this.#fold.integrate(released)
    const storing = this.#store([entry], true)
    if (released.length > 0) this.#store(released, false).catch(() => {})
    await storing
  }

  #store(entries: Entry[], local: boolean): Promise<void> {
    const { view } = this.#fold
    const { storage, listeners } = this.#deps
    const bytes = entries.map((entry) => this.bytesOf(entry))
    return storage.append(bytes, (offsets) => {
      this.#settle(entries, offsets)
      const previous = this.#view
      this.#view = view
      listeners.view(view, previous)
      for (const [i, entry] of entries.entries()) {
        if (local) listeners.local(bytes[i] as Uint8Array)
        else listeners.received(entry)
      }
      this.considerSnapshot()
    })
  }

  #settle(entries: readonly Entry[], offsets: readonly number[]): void {
    for (const [i, entry] of entries.entries()) {
      entry.offset = offsets[i] as number
      entry.bytes = null
      if (entry.authorId === this.#deps.signer.peerId) {
        this.#lastWrittenAt = Math.max(this.#lastWrittenAt, entry.writtenAt)
      }
      if (this.#ledger.at(entry.actor, entry.seq) === entry) this.#vector[entry.actor] = entry.seq
    }
    this.#durable += entries.length
  }

  /** Puts what is stored so far away behind a snapshot, when enough has come together since the last one. */
  considerSnapshot(): void {
    const { length } = this.#ledger.entries
    const { clock, snapshotEvery, log } = this.#deps
    const due = Math.max(snapshotEvery, length * snapshotEveryShare)
    if (this.#snapshotting || this.#doubtful || length - this.#snapshotOf < due) return
    this.#snapshotting = true
    this.#snapshotOf = length
    // Not within the write that has made it due: whoever waits for that is answered first.
    clock
      .sleep(0)
      .then(() => this.#snapshot())
      .then((bytes) => log.info({ entries: length, bytes }, 'a snapshot was taken and the log before it archived'))
      .catch((error: unknown) => log.warn({ error }, 'no snapshot could be taken; it is tried again later'))
      .finally(() => (this.#snapshotting = false))
  }

  /** Of all that memory holds, at once; written when the disk holds it too, and nothing more. Returns its size. */
  async #snapshot(): Promise<number> {
    const { entries } = this.#ledger
    const count = entries.length
    const { document, ...captured } = this.capture()
    let size = 0
    await this.#deps.storage.putAway((base) => {
      if (this.#durable !== count) throw new Error(`${this.#durable} entries are durable, ${count} are in the snapshot`)
      withOffsets(captured.entries, entries)
      const encoded = encodeSnapshot({ head: { ...captured, ...base }, document })
      size = encoded.length
      return encoded
    })
    return size
  }

  /** What memory holds at this instant, the disk perhaps a little later. */
  capture(): Captured {
    return capture(this.#ledger, this.#fold, (entry) => this.bytesOf(entry))
  }

  /** The envelope of an entry. */
  bytesOf(entry: Entry): Uint8Array {
    return entry.bytes ?? this.#deps.storage.read(entry.offset, entry.length)
  }

  #seal(kind: 'change' | 'auth', seq: number, body: Uint8Array): Unheld {
    const { signer, storage, clock } = this.#deps
    // Never back in time: who reads the history sees each author's changes in their order.
    this.#lastWrittenAt = Math.max(this.#lastWrittenAt, clock.now())
    return openEnvelope(
      sealEnvelope(signer, this.genesis.clusterId, {
        kind,
        incarnation: storage.incarnation,
        seq,
        writtenAt: this.#lastWrittenAt,
        body
      }),
      { own: true }
    )
  }
}

export interface ClusterDeps {
  signer: Signer
  clock: Clock
  log: Logger
  storage: Storage
  /** Entries behind the last snapshot that make the next one. */
  snapshotEvery: number
  listeners: {
    view(view: View, previous: View): void
    local(envelope: EnvelopeBytes): void
    received(entry: Entry): void
  }
}

interface Stored {
  offset: number
  bytes: Uint8Array
}

function readBack(ledger: Ledger, bytes: Uint8Array): Entry {
  // An entry of the auth log keeps parts of its bytes, which must not keep all that was read with them.
  const own = bytes[1] === envelopeKindNumber('auth') ? bytes.slice() : bytes
  const item = openEnvelope(parseEnvelope(own), { own: true })
  if (ledger.waitsFor(item) != null) throw new UnavailableError('the log is not in order; restore it')
  return ledger.add(item)
}

/** Parts that are verified, folded and stored in one go. */
function batches(envelopes: EnvelopeBytes[]): EnvelopeBytes[][] {
  const found: EnvelopeBytes[][] = []
  let size = Infinity
  for (const bytes of envelopes) {
    const last = found.at(-1)
    if (last == null || last.length >= verifyBatchMax || size + bytes.length > verifyBatchBytesMax) {
      found.push([bytes])
      size = bytes.length
    } else {
      last.push(bytes)
      size += bytes.length
    }
  }
  return found
}
