import type { AuthEntry } from './authlog.ts'
import type { Operations } from './document.ts'
import { envelopeKind, envelopeKindNumber, partsOfActor, type Envelope } from './envelope.ts'
import { entriesPerPage, entryPagesMax, linkPagesMax, linksPerPage } from './limits.ts'
import type { MadeRecord } from './made-records.ts'
import { PagedRows, type Paging } from './paged-rows.ts'
import type { PeerId } from './schema.ts'
import type { OpenScratch } from './scratch.ts'
import { peerIdOf } from './signer.ts'
import type { Touch } from './touch.ts'
import type { TouchNames } from './touch-names.ts'

/**
 * The entries of a ledger in the order of its log, as rows of bytes: of a history that only grows, an object for each would
 * be five times as much. Rows that nobody has looked at for a while are in a file (`paged-rows.ts`). What is long and rare (an
 * entry of the auth log, why something is forbidden) or short-lived (an envelope on its way to the disk, operations that were not
 * folded yet) stands beside the rows.
 *
 *   row = hash 32 | written-at f64 | seq f64 | first operation f64 | offset f64 | operations u32 | length u32 | actor u32 |
 *         where its links begin u32 | how many of them are dependencies u32 | flags u8 | 3 unused
 *   links = indices of its dependencies … | numbers of the records that it touches …
 */
export class Entries implements Iterable<Entry> {
  readonly #touched: TouchNames
  readonly #rows: PagedRows
  readonly #links: PagedRows
  readonly #actors: Actor[] = []
  readonly #actorNumbers = new Map<string, number>()
  /** The index of each entry, plus one, in the first free place from where the first bytes of its hash point to. */
  #places = new Uint32Array(PLACES_MIN)
  /** Those bytes, so that of those in between hardly a row has to be looked at. */
  #tags = new Uint32Array(PLACES_MIN)
  readonly auth = new Map<number, AuthEntry>()
  readonly forbidden = new Map<number, string>()
  readonly bytes = new Map<number, Uint8Array>()
  readonly unread = new Map<number, Unread>()

  /** `touched`: gives the records that entries touch their numbers. `open`: where the rows are that memory does not hold. */
  constructor(touched: TouchNames, open: OpenScratch = () => null, { rows, links }: PageSizes = PAGES) {
    this.#touched = touched
    this.#rows = new PagedRows(ROW_BYTES, { ...rows, open })
    this.#links = new PagedRows(LINK_BYTES, { ...links, open })
  }

  get length(): number {
    return this.#rows.length
  }

  /** As of an array: -1 is the last one. */
  at(index: number): Entry | undefined {
    const place = index < 0 ? this.length + index : index
    return place >= 0 && place < this.length ? new Entry(this, place) : undefined
  }

  /** The one with this hash, hex. */
  get(hash: string): Entry | undefined {
    const wanted = hash.length === 2 * HASH_BYTES ? Buffer.from(hash, 'hex') : NO_HASH
    if (wanted.length !== HASH_BYTES) return undefined
    const found = this.#places[this.#placeOf(wanted)] as number
    return found === 0 ? undefined : new Entry(this, found - 1)
  }

  /** Appends one, whose hash is not among them. */
  add(entry: NewEntry): Entry {
    const rows = this.#rows
    const hash = Buffer.from(entry.hash, 'hex')
    // A third of the places is free at least, so that a look finds its own soon.
    if ((this.length + 1) * 3 > this.#places.length * 2) this.#spread(this.#places.length * 2)
    const place = this.#placeOf(hash)
    const index = rows.push()
    rows.setBytes(index, 0, hash)
    rows.setF64(index, AT.writtenAt, entry.writtenAt)
    rows.setF64(index, AT.seq, entry.seq)
    rows.setF64(index, AT.firstOperation, entry.firstOperation)
    rows.setF64(index, AT.offset, entry.offset)
    rows.setU32(index, AT.operationCount, entry.operationCount)
    rows.setU32(index, AT.length, entry.length)
    rows.setU32(index, AT.actor, this.#actorNumber(entry.actor))
    rows.setU32(index, AT.links, this.#links.length)
    rows.setU32(index, AT.dependencies, entry.dependencies.length)
    rows.setU8(index, AT.flags, (entry.valid ? FLAG.valid : 0) | (entry.needsAdmin ? FLAG.needsAdmin : 0))
    for (const dependency of entry.dependencies) this.#link(dependency)
    for (const { kind, id } of entry.touches) this.#link(this.#touched.numberOf(kind, id))
    const { auth, forbidden, bytes: envelope, operations, made } = entry
    if (auth != null) this.auth.set(index, auth)
    if (forbidden != null) this.forbidden.set(index, forbidden)
    if (envelope != null) this.bytes.set(index, envelope)
    if (operations != null || made.length > 0) this.unread.set(index, { operations, made })
    this.#places[place] = index + 1
    this.#tags[place] = hash.readUInt32LE(0)
    return new Entry(this, index)
  }

  /** Forgets all from `length` on. Nobody may hold on to one of those. */
  cut(length: number): void {
    if (length >= this.length) return
    this.#links.cut(this.#rows.u32(length, AT.links))
    for (const beside of [this.auth, this.forbidden, this.bytes, this.unread]) {
      for (const index of beside.keys()) if (index >= length) beside.delete(index)
    }
    this.#rows.cut(length)
    this.#spread(this.#places.length)
  }

  *[Symbol.iterator](): Generator<Entry> {
    for (let i = 0; i < this.length; i++) yield new Entry(this, i)
  }

  find(fits: (entry: Entry) => boolean): Entry | undefined {
    for (const entry of this) if (fits(entry)) return entry
    return undefined
  }

  /** The last one of the first `end` that fits. */
  findLast(fits: (entry: Entry) => boolean, end: number = this.length): Entry | undefined {
    for (let i = end - 1; i >= 0; i--) {
      const entry = new Entry(this, i)
      if (fits(entry)) return entry
    }
    return undefined
  }

  filter(fits: (entry: Entry) => boolean): Entry[] {
    const found: Entry[] = []
    for (const entry of this) if (fits(entry)) found.push(entry)
    return found
  }

  slice(start: number, end: number = this.length): Entry[] {
    const length = Math.max(0, Math.min(end, this.length) - start)
    return Array.from({ length }, (_, i) => new Entry(this, start + i))
  }

  /** For entries themselves. */
  get rows(): PagedRows {
    return this.#rows
  }

  actorOf(index: number): Actor {
    return this.#actors[this.#rows.u32(index, AT.actor)] as Actor
  }

  /** Of an entry, the indices of those that it builds on. */
  dependenciesOf(index: number): number[] {
    const first = this.#rows.u32(index, AT.links)
    const length = this.#rows.u32(index, AT.dependencies)
    return Array.from({ length }, (_, i) => this.#links.u32(first + i, 0))
  }

  touchesOf(index: number): Touch[] {
    const first = this.#rows.u32(index, AT.links) + this.#rows.u32(index, AT.dependencies)
    const next = index + 1
    const end = next === this.length ? this.#links.length : this.#rows.u32(next, AT.links)
    return Array.from({ length: end - first }, (_, i) => this.#touched.at(this.#links.u32(first + i, 0)))
  }

  #link(number: number): void {
    this.#links.setU32(this.#links.push(), 0, number)
  }

  #actorNumber(name: string): number {
    let number = this.#actorNumbers.get(name)
    if (number == null) this.#actorNumbers.set(name, (number = this.#actors.push(actorNamed(name)) - 1))
    return number
  }

  /** Where an entry with this hash stands among the places, or would. */
  #placeOf(hash: Buffer): number {
    const mask = this.#places.length - 1
    const tag = hash.readUInt32LE(0)
    for (let place = tag & mask; ; place = (place + 1) & mask) {
      const held = this.#places[place] as number
      if (held === 0) return place
      if (this.#tags[place] === tag && this.#rows.equals(held - 1, 0, hash)) return place
    }
  }

  /** Finds all their places anew, among so many. */
  #spread(count: number): void {
    const [before, tags] = [this.#places, this.#tags]
    this.#places = new Uint32Array(count)
    this.#tags = new Uint32Array(count)
    for (const [i, held] of before.entries()) {
      if (held === 0 || held > this.length) continue
      const tag = tags[i] as number
      let place = tag & (count - 1)
      while (this.#places[place] !== 0) place = (place + 1) & (count - 1)
      this.#places[place] = held
      this.#tags[place] = tag
    }
  }
}

/** One of the entries: a name for its row, made whenever it is asked for. Two are the same one when their index is. */
export class Entry {
  readonly #all: Entries
  /** Its place in the log's order. */
  readonly index: number

  constructor(all: Entries, index: number) {
    this.#all = all
    this.index = index
  }

  get kind(): Envelope['kind'] {
    return this.#all.actorOf(this.index).kind
  }

  get authorId(): PeerId {
    return this.#all.actorOf(this.index).authorId
  }

  get actor(): string {
    return this.#all.actorOf(this.index).name
  }

  get seq(): number {
    return this.#double(AT.seq)
  }

  get writtenAt(): number {
    return this.#double(AT.writtenAt)
  }

  /** Hex. */
  get hash(): string {
    return this.#all.rows.hex(this.index, 0, HASH_BYTES)
  }

  /** The changes before it, and those whose objects or values it changes; without the genesis. */
  get deps(): Entry[] {
    return this.#all.dependenciesOf(this.index).map((index) => new Entry(this.#all, index))
  }

  /** A change's operations are numbered; see `document.ts`. */
  get firstOperation(): number {
    return this.#double(AT.firstOperation)
  }

  get operationCount(): number {
    return this.#whole(AT.operationCount)
  }

  get auth(): AuthEntry | null {
    return this.#all.auth.get(this.index) ?? null
  }

  get touches(): readonly Touch[] {
    return this.#all.touchesOf(this.index)
  }

  /** What it does, until it has been applied. */
  get operations(): Operations | null {
    return this.#all.unread.get(this.index)?.operations ?? null
  }

  /** The records that it makes, until it has been applied. */
  get made(): readonly MadeRecord[] {
    return this.#all.unread.get(this.index)?.made ?? NONE_MADE
  }

  /** It has been applied. */
  read(): void {
    this.#all.unread.delete(this.index)
  }

  /** Why it must never be applied; null when it may be. */
  get forbidden(): string | null {
    return this.#all.forbidden.get(this.index) ?? null
  }

  forbid(reason: string): void {
    this.#all.forbidden.set(this.index, reason)
  }

  /** It touches more than its author's own peer record. */
  get needsAdmin(): boolean {
    return (this.#flags & FLAG.needsAdmin) > 0
  }

  /** Kept by the fold: applied to the document. */
  get valid(): boolean {
    return (this.#flags & FLAG.valid) > 0
  }

  set valid(valid: boolean) {
    const flags = valid ? this.#flags | FLAG.valid : this.#flags & ~FLAG.valid
    this.#all.rows.setU8(this.index, AT.flags, flags)
  }

  /** Its place in the log's file, once durable. */
  get offset(): number {
    return this.#double(AT.offset)
  }

  set offset(offset: number) {
    this.#all.rows.setF64(this.index, AT.offset, offset)
  }

  get length(): number {
    return this.#whole(AT.length)
  }

  /** null once it can be read from the log. */
  get bytes(): Uint8Array | null {
    return this.#all.bytes.get(this.index) ?? null
  }

  /** It can be read from the log. */
  dropBytes(): void {
    this.#all.bytes.delete(this.index)
  }

  get #flags(): number {
    return this.#all.rows.u8(this.index, AT.flags)
  }

  #double(at: number): number {
    return this.#all.rows.f64(this.index, at)
  }

  #whole(at: number): number {
    return this.#all.rows.u32(this.index, at)
  }
}

/** What {@link Entries.add} takes: the same that an {@link Entry} tells of itself. */
export type NewEntry = Pick<
  Entry,
  | 'actor'
  | 'seq'
  | 'writtenAt'
  | 'hash'
  | 'firstOperation'
  | 'operationCount'
  | 'auth'
  | 'touches'
  | 'operations'
  | 'made'
  | 'forbidden'
  | 'needsAdmin'
  | 'valid'
  | 'offset'
  | 'length'
  | 'bytes'
> & {
  /** Indices of entries. */
  readonly dependencies: readonly number[]
}

/** One of the auth log. */
export type AuthorizedEntry = Entry & { readonly auth: AuthEntry }

export interface PageSizes {
  rows: Omit<Paging, 'open'>
  links: Omit<Paging, 'open'>
}

interface Unread {
  operations: Operations | null
  made: readonly MadeRecord[]
}

interface Actor {
  name: string
  kind: Envelope['kind']
  authorId: PeerId
}

function actorNamed(name: string): Actor {
  const kind = envelopeKind(envelopeKindNumber(partsOfActor(name).kind))
  return { name, kind, authorId: peerIdOf(Buffer.from(name.slice(0, 64), 'hex')) }
}

const HASH_BYTES = 32
const AT = {
  writtenAt: 32,
  seq: 40,
  firstOperation: 48,
  offset: 56,
  operationCount: 64,
  length: 68,
  actor: 72,
  links: 76,
  dependencies: 80,
  flags: 84
}
const ROW_BYTES = 88
const FLAG = { valid: 1, needsAdmin: 2 }
const LINK_BYTES = 4
const PAGES: PageSizes = {
  rows: { rowsPerPage: entriesPerPage, heldMax: entryPagesMax },
  links: { rowsPerPage: linksPerPage, heldMax: linkPagesMax }
}

/** A power of two, as there are always. */
const PLACES_MIN = 64
const NO_HASH = Buffer.alloc(0)
const NONE_MADE: readonly MadeRecord[] = []
