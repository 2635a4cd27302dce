import { createHash } from 'node:crypto'
import { isoTime } from '../clock.ts'
import { MalformedError } from './bytes.ts'
import { Document, type FieldValue, type Kind, type SavedDocument, type Writer } from './document.ts'
import type { Entry, Ledger } from './ledger.ts'
import type { PeerId, ServiceRecord } from './schema.ts'
import { membersOf, type Membership } from './validity.ts'
import { DEFAULT_POLICY } from './policy.ts'
import { pickService, Records } from './records.ts'
import { rejectedShownMax } from './limits.ts'
import type { DepartedMember, Member, RejectedChange, View } from './view.ts'

/**
 * From the set of envelopes to the view: document = fold of the valid changes, view = the valid records in it.
 *
 * 1. Members follow from all auth entries (`validity.ts`).
 * 2. A change is valid when its author is a member, nothing in it is forbidden and all changes before it are valid.
 * 3. Valid changes are applied; should one that was applied become invalid, the document is made anew without it.
 * 4. The records that were touched are read, checked and put into the next view (`records.ts`).
 *
 * Each step is a function of the set alone, so peers that hold the same envelopes have the same members, heads and
 * records, however they came by them.
 */
export class Fold {
  readonly #ledger: Ledger
  #actor: string
  readonly #chunkOf: (entry: Entry) => Uint8Array
  readonly #rule: typeof membersOf
  /** Something that had been applied is not valid any more. Whoever reads it takes it back. */
  lost = false
  #document: Document
  #records: Records
  #membership: Membership
  /** Changes that are held but not applied. */
  #invalid = new Set<Entry>()
  #authDigest = ''
  view: View

  /**
   * `actor`: the name of this peer's own changes. `chunkOf`: what is in the envelope of a change. `rule`: who is a member.
   * `saved`: what all entries of the ledger have become before; MalformedError when they would become something else now.
   */
  constructor(
    ledger: Ledger,
    actor: string,
    chunkOf: (entry: Entry) => Uint8Array,
    rule: typeof membersOf = membersOf,
    saved: SavedFold | null = null
  ) {
    this.#ledger = ledger
    this.#actor = actor
    this.#chunkOf = chunkOf
    this.#document = new Document(ledger.genesis.chunk, actor, saved?.document)
    this.#records = new Records()
    this.#rule = rule
    this.#membership = rule(ledger.genesis, [])
    this.view = emptyView
    if (saved == null) this.rebuild(0)
    else this.#restore(saved)
  }

  /** What the entries so far have become. */
  save(): SavedFold {
    const records: SavedFold['records'] = [...this.#records.held()].map((record) => [...record, -1])
    for (const [key, { hash }] of this.#records.rejected) {
      const [kind, id] = splitKey(key)
      records.push([kind, id, this.#document.read(kind, id), this.#ledger.get(hash)?.index ?? -1])
    }
    return { document: this.#document.save(), records }
  }

  #restore({ records }: SavedFold): void {
    const { entries } = this.#ledger
    const changes = entries.filter(({ kind }) => kind === 'change')
    this.#membersChanged()
    for (const entry of changes) {
      if (entry.valid !== this.#isValid(entry)) throw new MalformedError('the rules have changed since')
      if (!entry.valid) this.#invalid.add(entry)
    }
    const last = changes.at(-1)
    if (last == null) throw new MalformedError('it is empty')
    const values = new Map(records.map(([kind, id, value]) => [`${kind}/${id}`, value]))
    this.#records.update(
      records.map(([kind, id, , by]) => ({ kind, id, by: entries[by] ?? last })),
      (kind, id) => values.get(`${kind}/${id}`)
    )
    this.#show([])
  }

  get membership(): Membership {
    return this.#membership
  }

  /** Takes in entries that were just added to the ledger. */
  integrate(entries: Entry[]): void {
    const auth = entries.filter(({ kind }) => kind === 'auth')
    if (auth.length > 0 && this.#membersChanged()) {
      this.#reconsider()
      return
    }
    const applicable: Entry[] = []
    for (const entry of entries) {
      if (entry.kind !== 'change') continue
      entry.valid = this.#isValid(entry)
      if (entry.valid) applicable.push(entry)
      else this.#invalid.add(entry)
    }
    this.#take(applicable)
  }

  /** Makes a change of this peer's own and applies it; null when nothing was written. To be followed by {@link took}. */
  write(write: (writer: Writer) => void, via: string | null = null): Uint8Array | null {
    return this.#document.change(write, via)
  }

  /** A change that changes nothing and says `message`. */
  note(message: string): Uint8Array {
    return this.#document.note(message)
  }

  /** Takes in the entry of a change that {@link write} or {@link note} has made. */
  took(entry: Entry): void {
    entry.valid = true
    this.#show([entry])
  }

  /** Ids of all routes of a service, also of those that are not in the view. */
  routesOf(serviceId: string): string[] {
    return this.#records.routeIdsOf(serviceId)
  }

  /** A service as it was merged, also when it is left out of the view because its fields do not go together. */
  mergedService(id: string): ServiceRecord | null {
    const record = this.#document.read('services', id)
    return typeof record === 'object' && record != null ? pickService(record, id) : null
  }

  /** A record as it was merged, whether or not it is in the view; null when there is none. */
  record(kind: Kind, id: string): Record<string, FieldValue> | null {
    const record = this.#document.read(kind, id)
    return typeof record === 'object' && record != null ? (record as Record<string, FieldValue>) : null
  }

  /** True when a service's id begins so, also one that is not in the view. */
  hasServiceLike(prefix: string): boolean {
    return this.#records.hasServiceLike(prefix)
  }

  /** True when the document holds the record, whether or not it is in the view. */
  has(kind: Kind, id: string): boolean {
    return this.#document.read(kind, id) !== undefined
  }

  /** From now on this peer's changes are by another actor. */
  writeAs(actor: string): void {
    this.#actor = actor
    this.rebuild(this.view.revision)
  }

  /** Gives the memory back. Only `view` may be used from then on. */
  free(): void {
    this.#document.free()
  }

  /** Everything anew from the ledger. The next view's revision is the one after `revision`. */
  rebuild(revision: number): void {
    const { entries, genesis } = this.#ledger
    const auth = entries.flatMap((entry) => (entry.auth == null ? [] : [{ envelope: entry, entry: entry.auth }]))
    this.#membership = this.#rule(genesis, auth)
    this.#authDigest = digestOf(auth.map(({ envelope }) => envelope.hash))
    const changes = entries.filter(({ kind }) => kind === 'change')
    for (const entry of changes) entry.valid = this.#isValid(entry)
    this.view = { ...emptyView, revision }
    this.#replay()
  }

  /** Recomputes who is a member; true when that may make a change valid or invalid. */
  #membersChanged(): boolean {
    const { entries, genesis } = this.#ledger
    const auth = entries.flatMap((entry) => (entry.auth == null ? [] : [{ envelope: entry, entry: entry.auth }]))
    const before = this.#membership.digest
    this.#membership = this.#rule(genesis, auth)
    this.#authDigest = digestOf(auth.map(({ envelope }) => envelope.hash))
    return before !== this.#membership.digest
  }

  /** After a change of members: what became valid is applied, and if something became invalid all is made anew. */
  #reconsider(): void {
    const gained: Entry[] = []
    let lost = false
    for (const entry of this.#ledger.entries) {
      if (entry.kind !== 'change') continue
      const valid = this.#isValid(entry)
      if (valid && !entry.valid) gained.push(entry)
      if (!valid && entry.valid) lost = true
      if (!valid) this.#invalid.add(entry)
      else this.#invalid.delete(entry)
      entry.valid = valid
    }
    if (lost) {
      this.lost = true
      this.#replay()
      return
    }
    this.#take(gained)
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
    this.#document.free()
    this.#document = new Document(this.#ledger.genesis.chunk, this.#actor)
    this.#records = new Records()
    const changes = this.#ledger.entries.filter(({ kind }) => kind === 'change')
    const valid = changes.filter((entry) => entry.valid)
    this.#invalid = new Set(changes.filter((entry) => !entry.valid))
    this.#take(valid)
  }

  /** Applies valid changes and shows what they did. */
  #take(entries: Entry[]): void {
    try {
      this.#document.apply(entries.map((entry) => this.#chunkOf(entry)))
      this.#show(entries)
    } catch (error) {
      this.#quarantine(entries, error)
    }
  }

  /**
   * Automerge refused something that was signed and well-formed, or broke on it. Which change it was is found by taking
   * one after the other; it is forbidden from then on, as it is on each peer that meets it.
   */
  #quarantine(entries: Entry[], cause: unknown): void {
    const later = new Set(entries)
    const sound = this.#ledger.entries.filter((entry) => entry.valid && entry.kind === 'change' && !later.has(entry))
    const anew = (): Document => {
      const document = new Document(this.#ledger.genesis.chunk, this.#actor)
      document.apply(sound.map((entry) => this.#chunkOf(entry)))
      return document
    }
    // A document that has broken once is not even asked to free its memory: the collector does that.
    this.#document = anew()
    for (const entry of entries) {
      entry.valid = this.#isValid(entry)
      if (!entry.valid) {
        this.#invalid.add(entry)
        continue
      }
      try {
        this.#document.apply([this.#chunkOf(entry)])
        for (const { kind, id } of entry.touches) this.#document.read(kind, id)
        sound.push(entry)
      } catch {
        entry.forbidden = `it cannot be applied: ${cause instanceof Error ? cause.message : String(cause)}`
        entry.valid = false
        this.#invalid.add(entry)
        this.#document = anew()
      }
    }
    this.#records = new Records()
    this.#show(sound)
  }

  /** The next view, after `applied` were applied. */
  #show(applied: Entry[]): void {
    const touched = new Map<string, { kind: Kind; id: string; by: Entry }>()
    for (const entry of applied) {
      if (!entry.valid) continue
      for (const { kind, id } of entry.touches) touched.set(`${kind}/${id}`, { kind, id, by: entry })
    }
    const records = this.#records
    records.update(touched.values(), (kind, id) => this.#document.read(kind, id))
    const { genesis } = this.#ledger
    const members = membersView(this.#membership, records, this.view.members)
    this.view = {
      revision: this.view.revision + 1,
      cluster: this.view.cluster ?? { id: genesis.clusterId, name: genesis.name },
      members,
      departed: departedView(this.#membership, records),
      authHead: this.#authDigest,
      services: records.services,
      routes: records.routes,
      routesOf: records.routesOf,
      tokens: records.tokens,
      policy: records.policy,
      rejected: this.#rejected(),
      heads: [...this.#document.heads(), this.#authDigest].sort()
    }
  }

  #rejected(): readonly RejectedChange[] {
    const { refused } = this.#membership
    if (refused.size === 0 && this.#invalid.size === 0 && this.#records.rejected.size === 0) return NONE_REJECTED
    const changes: RejectedChange[] = []
    for (const entry of this.#invalid) {
      changes.push({ hash: entry.hash, author: entry.authorId, reason: this.#reasonFor(entry) })
    }
    for (const [hash, reason] of refused) {
      changes.push({
        hash,
        author: this.#ledger.get(hash)?.authorId ?? '',
        reason: `the ${this.#ledger.get(hash)?.auth?.operation ?? 'admit'} entry does not count: ${reason}`
      })
    }
    changes.push(...this.#records.rejected.values())
    return changes.slice(-rejectedShownMax)
  }

  /** Why a change or an entry of the auth log does not count; null when it does. */
  reasonAgainst(entry: Entry): string | null {
    // An epoch has no part in who is a member; whether it counts follows from that.
    if (entry.auth?.operation === 'epoch') return this.#membership.fault({ ...entry, needsAdmin: true })
    if (entry.kind !== 'change') return this.#membership.refused.get(entry.hash) ?? null
    return entry.valid ? null : this.#reasonFor(entry)
  }

  #reasonFor(entry: Entry): string {
    if (entry.forbidden != null) return entry.forbidden
    return this.#membership.fault(entry) ?? 'it builds on a change that is not valid'
  }
}

/** See {@link Fold.save}. */
export interface SavedFold {
  document: SavedDocument
  records: Array<[kind: Kind, id: string, value: unknown, by: number]>
}

function splitKey(key: string): [kind: Kind, id: string] {
  const at = key.indexOf('/')
  return [key.slice(0, at) as Kind, key.slice(at + 1)]
}

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

/** Stands among the heads for the auth log, so that equal heads mean equal members too. */
function digestOf(hashes: string[]): string {
  return createHash('sha256').update(hashes.toSorted().join('')).digest('hex')
}

function departedView({ departed }: Membership, records: Records): ReadonlyMap<PeerId, DepartedMember> {
  return new Map(
    [...departed].map(([id, { how, by, at, name }]) => [
      id,
      { id, name: records.peers.get(id)?.name ?? name ?? id, how, by, at: isoTime(at) }
    ])
  )
}

/** Members of the view before are kept as they are when nothing of theirs changed. */
function membersView(
  { members }: Membership,
  records: Records,
  previous: ReadonlyMap<PeerId, Member>
): ReadonlyMap<PeerId, Member> {
  const next = new Map<PeerId, Member>()
  let same = previous.size === members.size
  for (const [id, { role, admittedBy, admittedAt, name }] of members) {
    const record = records.peers.get(id) ?? null
    const before = previous.get(id)
    if (before?.record === record && before.role === role && before.admittedAt === isoTime(admittedAt)) {
      next.set(id, before)
      continue
    }
    same = false
    next.set(id, { id, name: record?.name ?? name ?? id, role, admittedBy, admittedAt: isoTime(admittedAt), record })
  }
  return same ? previous : next
}
