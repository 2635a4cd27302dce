import { append } from '../append.ts'
import { inBatches } from './batches.ts'
import { MalformedError } from './bytes.ts'
import {
  type Document,
  GENESIS_OPERATIONS,
  operationsOf,
  type FieldValue,
  type Kind,
  type SavedDocument,
  type Writer
} from './document.ts'
import { FoldDocument } from './fold-document.ts'
import { KnownRecords, type Merged, type OperationAt } from './known-records.ts'
import type { AuthorizedEntry, Entry } from './entries.ts'
import type { Ledger } from './ledger.ts'
import type { Membership, Signed } from './membership.ts'
import { MembersView } from './members-view.ts'
import type { PeerId, ServiceRecord } from './schema.ts'
import { SetDigest } from './set-digest.ts'
import type { Written } from './standings.ts'
import { membersOf } from './validity.ts'
import type { UnsavedFold } from './document-aside.ts'
import { changeOf, noteOf, wishesOf, type Frame } from './own-change.ts'
import { DEFAULT_POLICY } from './policy.ts'
import { pickService, Records } from './records.ts'
import { recordsToSave, type SavedFold } from './saved-fold.ts'
import { applyBatchMax, deferredChangesMax, rejectedShownMax } from './limits.ts'
import type { RejectedChange, View } from './view.ts'

/**
 * From the set of envelopes to the view: document = fold of the valid changes, view = the valid records in it.
 *
 * 1. Members follow from all auth entries (`validity.ts`), or from those before and one more (`membership.ts`).
 * 2. A change is valid when its author is a member, nothing in it is forbidden and all changes before it are valid.
 * 3. Valid changes are applied; should one that was applied become invalid, the document is made anew without it.
 * 4. The records that were touched are told from the changes (`known-records.ts`), or read from the document, checked and
 *    put into the next view (`records.ts`). The document is given its changes when something is asked of it.
 *
 * Each step is a function of the set alone, so peers that hold the same envelopes have the same members, heads and
 * records, however they came by them.
 */
export class Fold {
  readonly #ledger: Ledger
  #actor: string
  readonly #chunkOf: (entry: Entry) => Uint8Array
  readonly #rule: typeof membersOf
  readonly #isSavedAside: boolean
  readonly #isHere: (entry: Entry) => boolean
  /** Something that had been applied is not valid any more. Whoever reads it takes it back. */
  lost = false
  #made: FoldDocument
  #known: KnownRecords
  /** The highest number of an operation in the document. */
  #lastOperation = GENESIS_OPERATIONS
  /** The change that {@link write} has just made is in the document already. */
  #isWritten = false
  #records: Records
  #membership: Membership
  /** Indices of changes that are held but not applied. */
  #invalid = new Set<number>()
  /** Stands among the heads for the auth log, so that equal heads mean equal members too. */
  #authDigest = new SetDigest()
  #members = new MembersView()
  view: View

  /**
   * `actor`: the name of this peer's own changes. `chunkOf`: what is in the envelope of a change. `rule`: who is a member.
   * `saved`: what all entries of the ledger have become before; MalformedError when they would become something else now.
   * `isSavedAside`: somebody makes the document that is saved, elsewhere, and it need not be given what nobody asks for.
   * `isHere`: the envelope of a change has come. Of one that has not, what the snapshot says that the entries are of is believed.
   */
  constructor(
    ledger: Ledger,
    actor: string,
    chunkOf: (entry: Entry) => Uint8Array,
    { rule = membersOf, saved = null, isSavedAside = false, isHere = () => true }: FoldOptions = {}
  ) {
    this.#ledger = ledger
    this.#actor = actor
    this.#chunkOf = chunkOf
    this.#made = new FoldDocument(ledger, actor, chunkOf, saved?.document)
    this.#known = this.#noRecords({ isWhole: false }, saved?.told)
    this.#records = new Records()
    this.#rule = rule
    this.#isSavedAside = isSavedAside
    this.#isHere = isHere
    this.#membership = rule(ledger.genesis, [])
    this.view = emptyView
    if (saved == null) this.rebuild(0)
    else this.#restore(saved)
  }

  /** What the entries so far have become. A document that was not in use is not kept in memory for it. */
  save(): SavedFold {
    const { isOpen } = this.#made
    const records = this.#recordsToSave()
    const document = this.#document.save()
    if (!isOpen) this.#made.close(document)
    return { document, ...records, owed: [], tips: null }
  }

  /** As {@link save}, with the document as it was saved last, if ever; null when it is open. */
  saveAsIs(): (Omit<SavedFold, 'document'> & { document: SavedDocument | null }) | null {
    const records = this.#recordsToSave()
    const asIs = this.#made.saveAsIs()
    return asIs == null ? null : { ...asIs, ...records }
  }

  #recordsToSave(): Pick<SavedFold, 'records' | 'told'> {
    const records = recordsToSave(this.#records, this.#ledger, (kind, id) => this.#read(kind, id))
    return { records, told: this.#known.isWhole ? this.#known : null }
  }

  /** null when the document is open, or may lack some changes and what was saved lacks no more. */
  unsaved({ mayLackSome }: { mayLackSome: boolean }): UnsavedFold | null {
    return this.#made.unsaved({ mayLackSome })
  }

  #restore({ records, owed, tips }: SavedFold): void {
    const { entries } = this.#ledger
    let last: Entry | null = null
    this.#judgeAll()
    for (const entry of this.#changes()) {
      if (entry.valid !== this.#isValid(entry)) throw new MalformedError('the rules have changed since')
      if (entry.valid) this.#count(entry)
      else this.#invalid.add(entry.index)
      last = entry
    }
    if (last == null) throw new MalformedError('it is empty')
    const by = last
    this.#made.restore({ owed, tips })
    const values = new Map(records.map(([kind, id, value]) => [`${kind}/${id}`, value]))
    this.#records.update(
      records.map(([kind, id, , at]) => ({ kind, id, by: entries.at(at) ?? by })),
      (kind, id) => values.get(`${kind}/${id}`)
    )
    this.#show([], 'all')
  }

  get membership(): Membership {
    return this.#membership
  }

  /** Takes in entries that were just added to the ledger. */
  integrate(entries: Entry[]): void {
    const { peers, judgedAnew } = this.#judge(entries)
    if (judgedAnew) {
      this.#reconsider(peers, new Set(entries.map(({ index }) => index)))
      return
    }
    const applicable: Entry[] = []
    for (const entry of entries) {
      if (entry.kind !== 'change') continue
      entry.valid = this.#isValid(entry)
      if (entry.valid) applicable.push(entry)
      else this.#invalid.add(entry.index)
    }
    // Of whom an entry could be taken in without judging all anew, nothing was held before.
    this.#take(applicable, peers)
  }

  /** The document with all that is valid in it. */
  get #document(): Document {
    return this.#made.opened((indices, cause) => this.#quarantine(indices, cause))
  }

  /**
   * Makes a change of this peer's own; null when nothing was written. To be followed by {@link took}. Where it writes what is
   * known it is made without the document.
   */
  write(write: (writer: Writer) => void, via: string | null = null): Uint8Array | null {
    const wishes = wishesOf(write)
    const made = changeOf(wishes, (kind, id) => this.#known.standing(kind, id, () => this.#document), this.#next(via))
    if (made !== undefined) return made
    const change = this.#document.change((writer) => {
      for (const [kind, id, fields] of wishes) {
        if (fields == null) writer.remove(kind, id)
        else writer.put(kind, id, fields)
      }
    }, via)
    this.#isWritten = change != null
    return change
  }

  /** A change that changes nothing and says `message`. To be followed by {@link took}. */
  note(message: string): Uint8Array {
    return noteOf(this.#next(message))
  }

  /** What this peer's next change is called and builds on. */
  #next(message: string | null): Frame {
    const [actor, seq] = [this.#actor, this.#ledger.count(this.#actor) + 1]
    const deps = this.#made.heads()
    // As Automerge does: the author's own change before, whatever is built on that.
    const last = this.#ledger.at(actor, seq - 1)?.hash
    const onThese = last == null ? deps : deps.with(last, true)
    return { actor, seq, start: this.#lastOperation + 1, deps: [...onThese.keys()], message }
  }

  /** Takes in the entry of a change that {@link write} or {@link note} has made. */
  took(entry: Entry): void {
    entry.valid = true
    const isWritten = this.#isWritten
    this.#isWritten = false
    if (isWritten) {
      this.#know([entry])
      this.#show([entry], [])
    } else this.#take([entry], [])
  }

  /** Ids of all routes of a service, also of those that are not in the view. */
  routesOf(serviceId: string): string[] {
    return this.#records.routeIdsOf(serviceId)
  }

  /** A service as it was merged, also when it is left out of the view because its fields do not go together. */
  mergedService(id: string): ServiceRecord | null {
    const record = this.#read('services', id)
    return typeof record === 'object' && record != null ? pickService(record, id) : null
  }

  /** A record as it was merged, whether or not it is in the view; null when there is none. */
  record(kind: Kind, id: string): Record<string, FieldValue> | null {
    const record = this.#read(kind, id)
    return typeof record === 'object' && record != null ? (record as Record<string, FieldValue>) : null
  }

  /** True when a service's id begins so, also one that is not in the view. */
  hasServiceLike(prefix: string): boolean {
    return this.#records.hasServiceLike(prefix)
  }

  /** True when the document holds the record, whether or not it is in the view. */
  has(kind: Kind, id: string): boolean {
    return this.#read(kind, id) !== undefined
  }

  /** From now on this peer's changes are by another actor. */
  writeAs(actor: string): void {
    this.#actor = actor
    this.rebuild(this.view.revision)
  }

  #read(kind: Kind, id: string): unknown {
    return this.#known.read(kind, id, () => this.#document)
  }

  /** Reads the document that was saved now, not when it is first needed. MalformedError when it is not what it was. */
  load(): void {
    this.#document.load()
  }

  /** Gives the memory back. Only `view` may be used from then on. */
  free(): void {
    this.#made.free()
  }

  /** Everything anew from the ledger. The next view's revision is the one after `revision`. */
  rebuild(revision: number): void {
    this.#judgeAll()
    for (const entry of this.#changes()) entry.valid = this.#isValid(entry)
    this.view = { ...emptyView, revision }
    this.#replay()
  }

  #judgeAll(): void {
    const auth = this.#ledger.authEntries()
    this.#membership = this.#rule(this.#ledger.genesis, auth.map(signedOf))
    this.#authDigest = new SetDigest(auth.map(({ hash }) => hash))
  }

  /** Takes in the auth entries among some that were just added; about whom something else counts by them. */
  #judge(added: readonly Entry[]): { peers: ReadonlySet<PeerId>; judgedAnew: boolean } {
    const auth = added.filter(isAuth)
    const peers = new Set<PeerId>()
    for (const { hash } of auth) this.#authDigest.add(hash)
    for (const entry of auth) {
      const before = this.#membership
      const taken = before.take(signedOf(entry))
      for (const peer of taken ?? []) peers.add(peer)
      if (taken != null) continue
      const now = this.#rule(this.#ledger.genesis, this.#ledger.authEntries().map(signedOf))
      this.#membership = now
      for (const peer of new Set([...before.peers(), ...now.peers()])) {
        if (before.digestOf(peer) !== now.digestOf(peer)) peers.add(peer)
      }
      return { peers, judgedAnew: true }
    }
    return { peers, judgedAnew: false }
  }

  /**
   * After something else counts about some peers: of what they wrote, and what builds on it, what became valid is
   * applied, and if something became invalid all is made anew.
   */
  #reconsider(peers: ReadonlySet<PeerId>, added: ReadonlySet<number>): void {
    const gained: Entry[] = []
    const turned = new Set<number>()
    let lost = false
    for (const entry of this.#changes()) {
      const isNew = added.has(entry.index)
      if (!isNew && !peers.has(entry.authorId) && !entry.deps.some((dep) => turned.has(dep.index))) continue
      const valid = this.#isValid(entry)
      if (valid !== entry.valid) turned.add(entry.index)
      if (valid && !entry.valid) gained.push(entry)
      if (!valid && entry.valid) lost = true
      if (!valid) this.#invalid.add(entry.index)
      else this.#invalid.delete(entry.index)
      entry.valid = valid
    }
    if (lost) {
      this.lost = true
      this.#replay()
      return
    }
    this.#take(gained, peers)
  }

  #isValid(entry: Entry): boolean {
    return this.isSound(entry) && entry.deps.every((dep) => dep.valid)
  }

  /** True when nothing speaks against a change but, perhaps, what it builds on. */
  isSound(entry: Entry): boolean {
    return entry.forbidden == null && this.#membership.fault(entry) == null
  }

  /** A new document of all valid changes. */
  #replay(): void {
    this.#made.free()
    this.#made = new FoldDocument(this.#ledger, this.#actor, this.#chunkOf)
    this.#known = this.#noRecords({ isWhole: true })
    this.#lastOperation = GENESIS_OPERATIONS
    this.#records = new Records()
    this.#invalid = new Set()
    for (const { valid, index } of this.#changes()) if (!valid) this.#invalid.add(index)
    const valid = (): Iterable<Entry> => this.#changes().filter((entry) => entry.valid)
    for (const batch of inBatches(valid(), applyBatchMax)) this.#hold(batch)
    this.#show(valid(), 'all')
    this.#giveWhatWaits()
  }

  /** In the order of the log. */
  *#changes(): Generator<Entry> {
    for (const entry of this.#ledger.entries) if (entry.kind === 'change') yield entry
  }

  /** Takes in valid changes and shows what they did, and what is new about these peers. */
  #take(entries: Entry[], peers: Iterable<PeerId> | 'all'): void {
    this.#hold(entries)
    this.#show(entries, peers)
    this.#giveWhatWaits()
  }

  #hold(entries: readonly Entry[]): void {
    this.#made.hold(entries)
    this.#know(entries)
  }

  #giveWhatWaits(): void {
    if (this.#made.owed > deferredChangesMax && !this.#isSavedAside) void this.#document
  }

  /** Of valid changes, what they say of records. */
  #know(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#count(entry)
      this.#known.add(entry)
      entry.read()
    }
  }

  #noRecords({ isWhole }: { isWhole: boolean }, saved: SavedFold['told'] = null): KnownRecords {
    const operationAt: OperationAt = (name) => {
      const maker = this.#ledger.makerOf(name)
      if (maker?.valid !== true) return null
      if (!this.#isHere(maker)) return { within: maker.touches }
      return operationsOf(this.#chunkOf(maker)).list.find(({ id }) => id === name) ?? null
    }
    return new KnownRecords(this.#ledger.touches, { isWhole, operationAt }, saved)
  }

  #count({ firstOperation, operationCount }: Entry): void {
    this.#lastOperation = Math.max(this.#lastOperation, firstOperation + operationCount - 1)
  }

  /** What Automerge does not take is forbidden from now on, as it is on each peer that meets it. */
  #quarantine(indices: readonly number[], cause: unknown): void {
    const later = new Set(indices)
    const sound = Array.from(this.#changes()).filter(({ valid, index }) => valid && !later.has(index))
    this.#made.sift(this.#actor, sound, indices, {
      counts: (entry) => {
        entry.valid = this.#isValid(entry)
        if (!entry.valid) this.#invalid.add(entry.index)
        return entry.valid
      },
      forbid: (entry) => {
        entry.forbid(`it cannot be applied: ${cause instanceof Error ? cause.message : String(cause)}`)
        entry.valid = false
        this.#invalid.add(entry.index)
      }
    })
    // What becomes of a change that Automerge does not take is Automerge's to say.
    this.#known = this.#noRecords({ isWhole: false })
    this.#records = new Records()
    this.#show(sound, 'all')
  }

  /** The next view, after `applied` were applied and something else counts about `peers`. */
  #show(applied: Iterable<Entry>, peers: Iterable<PeerId> | 'all'): void {
    const touched = new Map<string, { kind: Kind; id: string; by: Entry }>()
    for (const entry of applied) {
      if (!entry.valid) continue
      for (const { kind, id } of entry.touches) touched.set(`${kind}/${id}`, { kind, id, by: entry })
    }
    const records = this.#records
    let merged: Merged | null = null
    const document = (): Merged => (merged ??= peers === 'all' ? allOf(this.#document) : this.#document)
    records.update(touched.values(), (kind, id) => this.#known.read(kind, id, document))
    // The document was given what it had been told of, and did not take it: all is shown anew already.
    if (records !== this.#records) return
    const { genesis } = this.#ledger
    if (peers === 'all') this.#members.updateAll(this.#membership, records.peers)
    else {
      const described = touched.values().flatMap(({ kind, id }) => (kind === 'peers' ? [id] : []))
      this.#members.update([...peers, ...described], this.#membership, records.peers)
    }
    const { members, departed } = this.#members
    const authHead = this.#authDigest.reading()
    const documentHeads = this.#made.heads()
    let heads: readonly string[] | null = null
    this.view = {
      revision: this.view.revision + 1,
      cluster: this.view.cluster ?? { id: genesis.clusterId, name: genesis.name },
      members,
      departed,
      get authHead() {
        return authHead()
      },
      services: records.services,
      routes: records.routes,
      routesOf: records.routesOf,
      tokens: records.tokens,
      policy: records.policy,
      rejected: this.#rejected(),
      // A thousand peers that join have a thousand heads, and few who look at the view look at those.
      get heads() {
        return (heads ??= [...documentHeads.with(authHead(), true).keys()])
      }
    }
  }

  #rejected(): readonly RejectedChange[] {
    const { refused } = this.#membership
    if (refused.size === 0 && this.#invalid.size === 0 && this.#records.rejected.size === 0) return NONE_REJECTED
    const changes: RejectedChange[] = []
    for (const index of this.#invalid) {
      const entry = this.#ledger.entries.at(index)
      if (entry == null) continue
      changes.push({ hash: entry.hash, author: entry.authorId, reason: this.#reasonFor(entry) })
    }
    for (const [hash, reason] of refused) {
      changes.push({
        hash,
        author: this.#ledger.get(hash)?.authorId ?? '',
        reason: `the ${this.#ledger.get(hash)?.auth?.operation ?? 'admit'} entry does not count: ${reason}`
      })
    }
    append(changes, this.#records.rejected.values())
    return changes.slice(-rejectedShownMax)
  }

  /** Why a change or an entry of the auth log does not count; null when it does. */
  reasonAgainst(entry: Entry): string | null {
    // An epoch has no part in who is a member; whether it counts follows from that.
    if (entry.auth?.operation === 'epoch') return this.#membership.fault(asAdmin(entry))
    if (entry.kind !== 'change') return this.#membership.refused.get(entry.hash) ?? null
    return entry.valid ? null : this.#reasonFor(entry)
  }

  #reasonFor(entry: Entry): string {
    if (entry.forbidden != null) return entry.forbidden
    return this.#membership.fault(entry) ?? 'it builds on a change that is not valid'
  }
}

interface FoldOptions {
  rule?: typeof membersOf
  saved?: SavedFold | null
  isSavedAside?: boolean
  isHere?: (entry: Entry) => boolean
}

/** For whoever reads most of it. */
const allOf = (document: Document): Merged => ({
  read: document.reader(),
  isMadeBy: (object, kind, id) => document.isMadeBy(object, kind, id)
})

const NONE_REJECTED: readonly RejectedChange[] = []

/** The view of a peer that is in no cluster. */
export const emptyView: View = {
  revision: 0,
  cluster: null,
  members: new Map(),
  services: new Records().services,
  routes: new Records().routes,
  routesOf: new Records().routesOf,
  tokens: new Records().tokens,
  policy: DEFAULT_POLICY,
  rejected: NONE_REJECTED,
  heads: []
}

/** Who signs an epoch must be an admin. */
export const asAdmin = ({ authorId, actor, seq }: Entry): Written => ({ authorId, actor, seq, needsAdmin: true })

const isAuth = (entry: Entry): entry is AuthorizedEntry => entry.auth != null

const signedOf = (entry: AuthorizedEntry): Signed => ({ envelope: entry, entry: entry.auth })
