import { asCaller, viaNow } from '../caller.ts'
import { UnavailableError } from '../errors.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { Behind } from './behind.ts'
import { carryOver, type CarriedOver } from './carry-over.ts'
import { encodeProof, withVia } from './authlog.ts'
import { operationsOf, viaOf, type SavedDocument, type Writer } from './document.ts'
import { actorOf, bodyOf, parseEnvelope, sealEnvelope } from './envelope.ts'
import { Fold } from './fold.ts'
import type { Genesis } from './genesis.ts'
import { Held } from './held.ts'
import { Intake, type Reader } from './intake.ts'
import { intentsOf, type Intent } from './intent.ts'
import { openEnvelope, type Ledger, type Unheld } from './ledger.ts'
import type { AuthorizedEntry, Entry } from './entries.ts'
import { encodeNote, parseNote, type ActorNote } from './note.ts'
import type { EnvelopeBytes, ReceiveResult, VersionVector } from './replicated.ts'
import { Mending } from './mending.ts'
import type { PeerId } from './schema.ts'
import { madeAside, type Saver, type UnsavedFold } from './document-aside.ts'
import type { Signer, Verifier } from './signer.ts'
import { NO_DOCUMENT, type SavedFold } from './saved-fold.ts'
import { Captured, NOWHERE } from './snapshot.ts'
import { Snapshots } from './snapshots.ts'
import type { Storage } from './storage.ts'
import type { View } from './view.ts'

/**
 * The state of the cluster that this peer is in: takes in what others have written, writes what this peer writes, and tells
 * of both when the disk has it. What of it memory holds is in `held.ts`, the ways to come by it are in `opening.ts`.
 */
export class Cluster {
  readonly genesis: Genesis
  readonly #deps: ClusterDeps
  readonly held: Held
  /** The last append failed: try the disk before taking anything more. */
  #doubtful = false
  #renewing: Promise<void> | null = null
  /** Of the last append: what the ledger holds is on disk when it is done. */
  #storing: Promise<void> = Promise.resolve()
  readonly #mending: Mending
  readonly snapshots: Snapshots
  /** As long as entries of the ledger are hollow. */
  #behind: Behind | null = null
  /** What has been verified is taking the place of what was taken over. */
  #settling: Promise<void> | null = null
  contradiction: Contradiction | null = null
  /** This peer has left it: what is under way must not reach the disk, which may have another cluster by then. */
  isLeft = false

  /**
   * `saved`: what a snapshot says the entries of the ledger have become. `digest`: that snapshot is another peer's, and the
   * entries are hollow.
   */
  constructor(ledger: Ledger, deps: ClusterDeps, saved: SavedFold | null = null, digest: string | null = null) {
    this.genesis = ledger.genesis
    this.#deps = deps
    const { signer, storage, verifier, reader, log } = deps
    const actor = actorOf('change', signer.publicKey, storage.incarnation)
    const how = { saved, isSavedAside: deps.saver != null, isHere: (entry: Entry) => this.#hasCome(entry) }
    const fold = new Fold(ledger, actor, (entry) => this.#chunkOf(entry), how)
    this.held = new Held(signer.peerId, { ledger, fold, intake: new Intake(ledger, verifier, reader) })
    this.snapshots = new Snapshots(this, deps)
    this.#mending = new Mending(this, { self: signer.peerId, clock: deps.clock, log })
    if (saved == null || digest == null) return
    this.#behind = new Behind({
      shown: ledger,
      covered: ledger.entries.length,
      digest,
      document: saved.document,
      actor,
      ...deps
    })
  }

  /** What is durable. */
  get view(): View {
    return this.held.view
  }

  /** What will be durable if all that is being written succeeds; what a write is checked against. */
  get fold(): Fold {
    return this.held.fold
  }

  /** Holds entries whose envelopes are not here yet; see `behind.ts`. */
  get isHollow(): boolean {
    return this.#behind != null
  }

  /** An entry whose envelope is here. */
  isHere(entry: Entry): boolean {
    return entry.bytes != null || entry.offset !== NOWHERE
  }

  /** An entry whose envelope is here, or among what is verified of the history. */
  #hasCome(entry: Entry): boolean {
    return this.isHere(entry) || this.#behind?.ledger.get(entry.hash) != null
  }

  /** How many entries are on disk, hollow ones among them. */
  get durableCount(): number {
    return this.held.durableCount
  }

  get isDoubtful(): boolean {
    return this.#doubtful
  }

  get ledger(): Ledger {
    return this.held.ledger
  }

  vector(): VersionVector {
    return this.held.vector()
  }

  /** Entries that are on disk, in the order of the log. */
  durable(): readonly Entry[] {
    return this.held.durable()
  }

  /** All auth entries, in the order of the log. */
  authLog(): EnvelopeBytes[] {
    return this.#durableAuth().map((entry) => this.bytesOf(entry))
  }

  /** Auth entries up to the last one that throws `peer` out; none when nothing does. */
  farewell(peer: PeerId): EnvelopeBytes[] {
    const entries = this.#durableAuth()
    const last = entries.findLastIndex(
      (entry) =>
        entry.auth.peer === peer &&
        (entry.auth.operation === 'revoke' || entry.auth.operation === 'proof') &&
        this.fold.reasonAgainst(entry) == null
    )
    return entries.slice(0, last + 1).map((entry) => this.bytesOf(entry))
  }

  #durableAuth(): AuthorizedEntry[] {
    const { durableCount } = this.held
    return this.ledger.authEntries().filter(({ index }) => index < durableCount)
  }

  *missing(vector: VersionVector, maxBytes: number): Generator<EnvelopeBytes[]> {
    let chunk: EnvelopeBytes[] = []
    let size = 0
    for (const entry of this.ledger.missing(vector, this.held.durableCount)) {
      // Others have what is hollow here.
      if (!this.isHere(entry)) continue
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
    return this.held.intake.check(envelope)
  }

  async receive(envelopes: EnvelopeBytes[]): Promise<ReceiveResult> {
    const result: ReceiveResult = { accepted: 0, known: 0, refused: [], gap: false }
    await this.ready()
    const stored: Array<Promise<void>> = []
    // What is held already may still be on its way to the disk, for another call; "known" promises no less than "accepted".
    const others = new Set<Promise<void>>()
    await this.held.intake.inBatches(envelopes, this.#deps.clock, async (batch) => {
      await this.ready()
      const added: Entry[] = []
      for (const bytes of batch) {
        const outcome = this.held.intake.take(bytes, added)
        if (outcome === 'known') {
          result.known++
          others.add(this.#storing)
        } else if (outcome === 'waiting') result.gap = true
        else if (outcome !== 'accepted') result.refused.push({ reason: `the envelope is not good: ${outcome.refused}` })
      }
      result.accepted += added.length
      if (added.length === 0) return
      this.fold.integrate(added)
      const storing = this.#store(added, false)
      // A later batch may be verified while this one is written; whether all is durable is asked at the end.
      storing.catch(() => {})
      stored.push(storing)
    })
    await Promise.all([...stored, ...others])
    await this.#convict()
    this.#mending.consider()
    this.judgeBehind()
    return result
  }

  /**
   * Resolves when the disk takes data, as far as is known. Whoever checks something and then writes must ask first, for
   * between the check and the write there must be no waiting. UnavailableError.
   */
  async ready(): Promise<void> {
    while (this.#settling != null) await this.#settling
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
    const last = this.ledger.at(actor, this.ledger.count(actor))
    return last != null && !last.valid
  }

  async #renew(): Promise<void> {
    const { signer, storage } = this.#deps
    await storage.renewIncarnation()
    this.fold.writeAs(actorOf('change', signer.publicKey, storage.incarnation))
  }

  /** Writes down the proof that somebody signed two things as one, once for each. */
  async #convict(): Promise<void> {
    for (const { hash, bytes } of this.held.intake.found.splice(0)) {
      const held = this.ledger.get(hash)
      // A disk that refused has taken it back.
      if (held == null) continue
      if (this.ledger.provenFrom(held.actor) != null || !this.isMember()) continue
      const { authorId: peer } = held
      const envelopes = [this.bytesOf(held), bytes] as const
      await this.ready()
      this.#deps.log.error({ peer, seq: held.seq }, 'a peer has signed two things as one; it is revoked by the proof')
      const cut = this.ledger.cutOf(peer)
      for (const envelope of envelopes) {
        const { actor, seq } = parseEnvelope(envelope)
        cut.set(actor, Math.min(seq - 1, cut.get(actor) ?? seq - 1))
      }
      await this.authorize((previous) => encodeProof({ previous, peer, cut, envelopes }))
    }
  }

  isMember(): boolean {
    return this.fold.membership.members.has(this.#deps.signer.peerId)
  }

  /** To be called once after a start: what fell out before it, what was verified before it, a snapshot. */
  begin(): void {
    this.#mending.begin()
    this.judgeBehind()
    this.snapshots.consider()
  }

  /** What a change wants; see `intent.ts`. */
  intentsOf(entry: Entry): Intent[] {
    const chunk = this.chunkOf(entry)
    return chunk == null ? [] : intentsOf(operationsOf(chunk).list, this.ledger.touches)
  }

  /** On whose behalf its author made a change; null when on nobody's, or when it says something else. */
  viaOf(entry: Entry): string | null {
    const chunk = entry.operationCount === 0 ? null : this.chunkOf(entry)
    return chunk == null ? null : viaOf(chunk)
  }

  /** What an entry says of an actor; null for one that says nothing, or changes something. */
  noteOf(entry: Entry): ActorNote | null {
    if (entry.kind !== 'change' || entry.operationCount > 0) return null
    const chunk = this.chunkOf(entry)
    return chunk == null ? null : parseNote(operationsOf(chunk).message)
  }

  /**
   * Makes one change: `write` is called at once, on what `fold.view` shows. Resolves when it is durable; with null when
   * there was nothing to write.
   */
  change(write: (writer: Writer) => void): Promise<Entry | null> {
    return this.#change(() => this.fold.write(write, viaNow()))
  }

  /** Resolves when all that memory holds is durable: for whoever asked for what is there already. UnavailableError. */
  stored(): Promise<void> {
    return this.#storing
  }

  /** What has come of the history behind the snapshot that was taken over; null when all is here. */
  get behind(): Behind | null {
    return this.#behind
  }

  /** As {@link receive}, for that history. */
  async receiveBehind(envelopes: EnvelopeBytes[]): Promise<ReceiveResult> {
    await this.ready()
    const behind = this.#behind
    if (behind == null) return { accepted: 0, known: envelopes.length, refused: [], gap: false }
    const result = await behind.receive(envelopes)
    this.judgeBehind()
    return result
  }

  /** `by` has handed over all that it has of it. */
  behindEnded(by: PeerId): void {
    const { members } = this.fold.membership
    const signer = this.epoch?.authorId ?? ''
    // Who has signed it must know all of it. If it cannot be asked any more, others are believed.
    this.#behind?.ended(by, by !== signer && members.has(signer))
    this.judgeBehind()
  }

  /** The entry by which the snapshot that was taken over is believed; null when there is none. */
  get epoch(): Entry | null {
    const digest = this.#behind?.digest
    if (digest == null) return null
    const found = this.ledger.authEntries().findLast(({ auth }) => auth.operation === 'epoch' && auth.digest === digest)
    return found ?? null
  }

  /** Lets what has been verified take the place of what was taken over, once it is all there or contradicts it. */
  judgeBehind(): void {
    const behind = this.#behind
    if (behind == null || this.#settling != null || this.isLeft) return
    const { epoch } = this
    const reason = epoch == null ? 'nobody has signed it' : this.fold.reasonAgainst(epoch)
    if (reason != null) behind.flaw ??= `its epoch does not count: ${reason}`
    if (behind.flaw == null && !behind.isComplete) return
    this.#settling = asCaller(null, () => this.#settleBehind(behind, epoch))
      .catch((error: unknown) => {
        this.#deps.log.warn({ error }, 'the verified history could not take its place yet; it is tried again')
      })
      .finally(() => (this.#settling = null))
  }

  async #settleBehind(behind: Behind, epoch: Entry | null): Promise<void> {
    const { storage, clock, listeners, log, signer } = this.#deps
    await behind.settled()
    const flaw = behind.flaw ?? (await behind.contradiction())
    // Who has been told that it may write has written after this; who asks from now on waits.
    await clock.sleep(0)
    if (this.isLeft) return
    const covered = behind.ledger.entries.length
    let carried: CarriedOver = { taken: [], bytes: [], left: [] }
    let [lost, wishes]: [Entry[], Intent[]] = [[], []]
    let places: number[]
    try {
      places = await storage.settleBehind(() => {
        if (this.held.durableCount !== this.ledger.entries.length) throw new Error('something is not on disk yet')
        const after = this.ledger.entries.slice(behind.progress.entries)
        carried = carryOver(behind.ledger, after, (entry) => this.bytesOf(entry))
        // Others write again what is theirs. Once the log is replaced these stand nowhere.
        lost = carried.left.filter(({ authorId }) => authorId === signer.peerId)
        wishes = lost.flatMap((entry) => this.intentsOf(entry))
        return carried.bytes
      })
    } catch (error) {
      behind.ledger.cut(covered)
      throw error
    }
    const previous = this.view
    behind.free()
    this.#behind = null
    this.held.replace(behind, covered, carried.taken, places)
    if (flaw == null) log.info({ entries: covered }, 'the history behind the snapshot is verified')
    else this.#report(flaw, epoch, lost.length)
    const isRenewed = behind.actor !== actorOf('change', signer.publicKey, storage.incarnation)
    if (isRenewed || lost.length > 0) await this.#renew()
    listeners.view(this.view, previous)
    this.snapshots.consider()
    this.#mending.again(wishes)
    this.#mending.consider()
  }

  #report(message: string, epoch: Entry | null, lost: number): void {
    const author = epoch?.authorId ?? null
    this.contradiction = { epoch: epoch?.hash ?? null, author, at: this.#deps.clock.now(), message }
    this.#deps.log.error(
      { epoch: epoch?.hash, signed_by: author, reason: message, written_on_it: lost },
      'the snapshot that an admin has signed is contradicted by the history; it is thrown away, and the history counts'
    )
  }

  /** Makes a change that changes nothing and says what was sent to an actor. Resolves when it is durable. */
  async note(note: ActorNote): Promise<void> {
    await this.#change(() => this.fold.note(encodeNote(note)))
  }

  async #change(make: () => Uint8Array | null): Promise<Entry | null> {
    const { signer, storage } = this.#deps
    if (this.#isOutOfNumbers()) throw new UnavailableError('the state has just changed under this change; ask again')
    const seq = this.ledger.count(actorOf('change', signer.publicKey, storage.incarnation)) + 1
    const body = make()
    if (body == null) return null
    const item = this.#seal('change', seq, body)
    const entry = this.ledger.add(item)
    this.fold.took(entry)
    await this.#stored(entry)
    return entry
  }

  /** Writes an entry of the auth log; `body` gets the hash of the one before it. Resolves when it is durable. */
  async authorize(body: (previous: string) => Uint8Array): Promise<string> {
    const { signer, storage } = this.#deps
    const seq = this.ledger.count(actorOf('auth', signer.publicKey, storage.incarnation)) + 1
    const entry = this.ledger.add(this.#seal('auth', seq, withVia(body(this.ledger.lastAuth(signer.peerId)), viaNow())))
    this.fold.integrate([entry])
    await this.#stored(entry)
    this.#mending.consider()
    return entry.hash
  }

  /** Called by the log at once when it fails: what is not on disk is forgotten, here and by all who wait. */
  onDiskFailure(error: unknown): void {
    this.#deps.log.error({ error }, 'the replicated state cannot be written; writes are refused until the disk is well')
    this.#doubtful = true
    this.#storing = Promise.resolve()
    this.held.rollBack()
  }

  /** What waited for an entry made here comes in with it. */
  async #stored(entry: Entry): Promise<void> {
    const released: Entry[] = []
    this.held.intake.release(entry, released)
    if (released.length > 0) this.fold.integrate(released)
    const storing = this.#store([entry], true)
    if (released.length > 0) this.#store(released, false).catch(() => {})
    await storing
  }

  #store(entries: Entry[], local: boolean): Promise<void> {
    const { view } = this.fold
    const { storage, listeners } = this.#deps
    const bytes = entries.map((entry) => this.bytesOf(entry))
    const storing = storage.append(bytes, (offsets) => {
      this.held.settle(entries, offsets)
      const previous = this.view
      this.held.view = view
      listeners.view(view, previous)
      for (const [i, entry] of entries.entries()) {
        if (local) listeners.local(bytes[i] as Uint8Array)
        else listeners.received(entry)
      }
      this.snapshots.consider()
    })
    this.#storing = storing
    return storing
  }

  /** What memory holds at this instant, the disk perhaps a little later, with a document that may lack what came last. */
  capture(): Captured {
    const asIs = this.#deps.saver == null ? null : this.fold.saveAsIs()
    const saved = asIs?.document == null ? this.fold.save() : { ...asIs, document: asIs.document }
    return this.#capture(saved, this.durableCount)
  }

  /** Has most of the document saved elsewhere, so that {@link capture} need not open it and it lacks few changes. */
  async saveAside(): Promise<void> {
    const unsaved = this.#deps.saver == null ? null : this.fold.unsaved({ mayLackSome: true })
    if (unsaved != null) await this.#saveAside(unsaved)
  }

  /** As {@link capture}, for others, of the instant of the call, with a whole document, which is made elsewhere where that can be. */
  async captureWhole(): Promise<Captured> {
    const unsaved = this.#deps.saver == null ? null : this.fold.unsaved({ mayLackSome: false })
    const asIs = unsaved == null ? null : this.fold.saveAsIs()
    if (unsaved == null || asIs == null) return this.#capture(this.fold.save(), null)
    const captured = this.#capture({ ...asIs, document: NO_DOCUMENT, owed: [], tips: null }, null)
    const saved = await this.#saveAside(unsaved)
    if (saved == null) return this.#capture(this.fold.save(), null)
    captured.document = saved
    return captured
  }

  #capture(saved: SavedFold, durable: number | null): Captured {
    return new Captured(this.ledger, saved, (entry) => this.bytesOf(entry), durable)
  }

  /** null when the document could not be made elsewhere. */
  async #saveAside(unsaved: UnsavedFold): Promise<SavedDocument | null> {
    const { saver, log } = this.#deps
    return saver == null ? null : madeAside(unsaved, { saver, load: () => this.fold.load(), log })
  }

  /** The envelope of an entry that is here. */
  bytesOf(entry: Entry): Uint8Array {
    if (!this.isHere(entry)) throw new UnavailableError(`the envelope of change ${entry.hash} has not come yet`)
    return entry.bytes ?? this.#deps.storage.read(entry.offset, entry.length)
  }

  /** The change that an entry is; null for one that is hollow and does not count. */
  chunkOf(entry: Entry): Uint8Array | null {
    return this.isHere(entry) ? bodyOf(this.bytesOf(entry)) : (this.#behind?.chunkOf(entry) ?? null)
  }

  #chunkOf(entry: Entry): Uint8Array {
    const chunk = this.chunkOf(entry)
    if (chunk == null) throw new Error('it has not come yet')
    return chunk
  }

  #seal(kind: 'change' | 'auth', seq: number, body: Uint8Array): Unheld {
    const { signer, storage, clock } = this.#deps
    const writtenAt = this.held.wroteAt(clock.now())
    return openEnvelope(
      sealEnvelope(signer, this.genesis.clusterId, {
        kind,
        incarnation: storage.incarnation,
        seq,
        writtenAt,
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
  verifier: Verifier | null
  /** Makes the documents that are saved; null: here. */
  saver: Saver | null
  reader: Reader
  listeners: {
    view(view: View, previous: View): void
    local(envelope: EnvelopeBytes): void
    received(entry: Entry): void
  }
}

/** A snapshot that was signed and is not what the history has come to. */
export interface Contradiction {
  /** The entry of the auth log that names it, and its author; null when there is none any more. */
  epoch: string | null
  author: PeerId | null
  /** Wall-clock ms when it was found. */
  at: number
  /** A sentence. */
  message: string
}
