import type { AuthEntry } from './authlog.ts'
import type { Operations } from './document.ts'
import { envelopeKind, envelopeKindNumber, partsOfActor, type Envelope } from './envelope.ts'
import { entriesPerBlock } from './limits.ts'
import type { MadeRecord } from './made-records.ts'
import { NumberList } from './number-list.ts'
import type { PeerId } from './schema.ts'
import { peerIdOf } from './signer.ts'
import type { Touch } from './touch.ts'
import type { TouchNames } from './touch-names.ts'

/**
 * The entries of a ledger in the order of its log, as rows of bytes: of a history that only grows, an object for each would
 * be five times as much. What is long and rare (an entry of the auth log, why something is forbidden) or short-lived (an
 * envelope on its way to the disk, operations that were not folded yet) stands beside the rows.
 *
 *   row = hash 32 | written-at f64 | seq f64 | first operation f64 | offset f64 | operations u32 | length u32 | actor u32 |
 *         where its links begin u32 | how many of them are dependencies u32 | flags u8 | 3 unused
 *   links = indices of its dependencies … | numbers of the records that it touches …
 */
export class Entries implements Iterable<Entry> {
  readonly #touched: TouchNames
  readonly #blocks: Block[] = []
  readonly #links = new NumberList()
  readonly #actors: Actor[] = []
  readonly #actorNumbers = new Map<string, number>()
  /** The index of each entry, plus one, in the first free place from where the first bytes of its hash point to. */
  #places = new Uint32Array(PLACES_MIN)
  #length = 0
  readonly auth = new Map<number, AuthEntry>()
  readonly forbidden = new Map<number, string>()
  readonly bytes = new Map<number, Uint8Array>()
  readonly unread = new Map<number, Unread>()

  /** `touched`: gives the records that entries touch their numbers. */
  constructor(touched: TouchNames) {
    this.#touched = touched
  }

  get length(): number {
    return this.#length
  }

  /** As of an array: -1 is the last one. */
  at(index: number): Entry | undefined {
    const place = index < 0 ? this.#length + index : index
    return place >= 0 && place < this.#length ? new Entry(this, place) : undefined
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
    const index = this.#length
    if (index === this.#blocks.length * entriesPerBlock) this.#blocks.push(newBlock())
    const { bytes, view } = this.blockOf(index)
    const row = rowOf(index)
    bytes.write(entry.hash, row, HASH_BYTES, 'hex')
    view.setFloat64(row + AT.writtenAt, entry.writtenAt)
    view.setFloat64(row + AT.seq, entry.seq)
    view.setFloat64(row + AT.firstOperation, entry.firstOperation)
    view.setFloat64(row + AT.offset, entry.offset)
    view.setUint32(row + AT.operationCount, entry.operationCount)
    view.setUint32(row + AT.length, entry.length)
    view.setUint32(row + AT.actor, this.#actorNumber(entry.actor))
    view.setUint32(row + AT.links, this.#links.length)
    view.setUint32(row + AT.dependencies, entry.dependencies.length)
    view.setUint8(row + AT.flags, (entry.valid ? FLAG.valid : 0) | (entry.needsAdmin ? FLAG.needsAdmin : 0))
    for (const dependency of entry.dependencies) this.#links.push(dependency)
    for (const { kind, id } of entry.touches) this.#links.push(this.#touched.numberOf(kind, id))
    this.#length++
    const { auth, forbidden, bytes: envelope, operations, made } = entry
    if (auth != null) this.auth.set(index, auth)
    if (forbidden != null) this.forbidden.set(index, forbidden)
    if (envelope != null) this.bytes.set(index, envelope)
    if (operations != null || made.length > 0) this.unread.set(index, { operations, made })
    // A third of the places is free at least, so that a look finds its own soon.
    if (this.#length * 3 > this.#places.length * 2) this.#spread(this.#places.length * 2)
    else this.#places[this.#placeOf(bytes.subarray(row, row + HASH_BYTES))] = index + 1
    return new Entry(this, index)
  }

  /** Forgets all from `length` on. Nobody may hold on to one of those. */
  cut(length: number): void {
    if (length >= this.#length) return
    this.#links.cut(this.blockOf(length).view.getUint32(rowOf(length) + AT.links))
    for (const beside of [this.auth, this.forbidden, this.bytes, this.unread]) {
      for (const index of beside.keys()) if (index >= length) beside.delete(index)
    }
    this.#length = length
    this.#blocks.length = Math.ceil(length / entriesPerBlock)
    this.#spread(this.#places.length)
  }

  *[Symbol.iterator](): Generator<Entry> {
    for (let i = 0; i < this.#length; i++) yield new Entry(this, i)
  }

  find(fits: (entry: Entry) => boolean): Entry | undefined {
    for (const entry of this) if (fits(entry)) return entry
    return undefined
  }

  /** The last one of the first `end` that fits. */
  findLast(fits: (entry: Entry) => boolean, end: number = this.#length): Entry | undefined {
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

  slice(start: number, end: number = this.#length): Entry[] {
    const length = Math.max(0, Math.min(end, this.#length) - start)
    return Array.from({ length }, (_, i) => new Entry(this, start + i))
  }

  /** Where the row of an entry stands; for entries themselves. */
  blockOf(index: number): Block {
    return this.#blocks[Math.floor(index / entriesPerBlock)] as Block
  }

  actorOf(index: number): Actor {
    return this.#actors[this.blockOf(index).view.getUint32(rowOf(index) + AT.actor)] as Actor
  }

  /** Of an entry, the indices of those that it builds on. */
  dependenciesOf(index: number): number[] {
    const { view } = this.blockOf(index)
    const first = view.getUint32(rowOf(index) + AT.links)
    const length = view.getUint32(rowOf(index) + AT.dependencies)
    return Array.from({ length }, (_, i) => this.#links.at(first + i))
  }

  touchesOf(index: number): Touch[] {
    const { view } = this.blockOf(index)
    const first = view.getUint32(rowOf(index) + AT.links) + view.getUint32(rowOf(index) + AT.dependencies)
    const next = index + 1
    const end = next === this.#length ? this.#links.length : this.blockOf(next).view.getUint32(rowOf(next) + AT.links)
    return Array.from({ length: end - first }, (_, i) => this.#touched.at(this.#links.at(first + i)))
  }

  #actorNumber(name: string): number {
    let number = this.#actorNumbers.get(name)
    if (number == null) this.#actorNumbers.set(name, (number = this.#actors.push(actorNamed(name)) - 1))
    return number
  }

  /** Where an entry with this hash stands among the places, or would. */
  #placeOf(hash: Buffer): number {
    const mask = this.#places.length - 1
    for (let place = hash.readUInt32LE(0) & mask; ; place = (place + 1) & mask) {
      const held = this.#places[place] as number
      if (held === 0) return place
      const row = rowOf(held - 1)
      if (this.blockOf(held - 1).bytes.compare(hash, 0, HASH_BYTES, row, row + HASH_BYTES) === 0) return place
    }
  }

  /** Finds all their places anew, among so many. */
  #spread(places: number): void {
    this.#places = new Uint32Array(places)
    for (let i = 0; i < this.#length; i++) {
      const row = rowOf(i)
      this.#places[this.#placeOf(this.blockOf(i).bytes.subarray(row, row + HASH_BYTES))] = i + 1
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
    const row = rowOf(this.index)
    return this.#all.blockOf(this.index).bytes.toString('hex', row, row + HASH_BYTES)
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
    this.#all.blockOf(this.index).view.setUint8(rowOf(this.index) + AT.flags, flags)
  }

  /** Its place in the log's file, once durable. */
  get offset(): number {
    return this.#double(AT.offset)
  }

  set offset(offset: number) {
    this.#all.blockOf(this.index).view.setFloat64(rowOf(this.index) + AT.offset, offset)
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
    return this.#all.blockOf(this.index).view.getUint8(rowOf(this.index) + AT.flags)
  }

  #double(at: number): number {
    return this.#all.blockOf(this.index).view.getFloat64(rowOf(this.index) + at)
  }

  #whole(at: number): number {
    return this.#all.blockOf(this.index).view.getUint32(rowOf(this.index) + at)
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

/** So many rows, and the same bytes for numbers. */
interface Block {
  bytes: Buffer
  view: DataView
}

function newBlock(): Block {
  const bytes = Buffer.from(new ArrayBuffer(entriesPerBlock * ROW_BYTES))
  return { bytes, view: new DataView(bytes.buffer) }
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
const rowOf = (index: number): number => (index % entriesPerBlock) * ROW_BYTES

/** A power of two, as there are always. */
const PLACES_MIN = 64
const NO_HASH = Buffer.alloc(0)
const NONE_MADE: readonly MadeRecord[] = []
