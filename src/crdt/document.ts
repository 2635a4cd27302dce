import type { DecodedChange, getBackend } from '@automerge/automerge'
import { automerge } from './automerge.ts'
import { inBatches } from './batches.ts'
import { equalBytes, hex, MalformedError } from './bytes.ts'
import { readOperations } from './change-reader.ts'
import { depsOf, parseChunk, plainChunk } from './chunk.ts'
import { GENESIS_ACTOR } from './genesis.ts'
import { GENESIS_HASH } from './genesis-change.ts'
import { applyBatchMax, viaLengthMax } from './limits.ts'
import { SortedMap } from './sorted-map.ts'

/**
 * The Automerge document behind the state; nothing else touches Automerge. It works on the handle beneath Automerge's
 * plain-object layer, which is several times as fast. Applying a change takes Automerge time in proportion to the size
 * of the map that gains or loses a key (3 ms at 16,000 keys), so each kind of which there may be many is spread over 256 maps by a hash of the id.
 *
 *   root = { peers: { "00": { <peer id>: record }, … "ff": … }, services: { … }, routes: { … }, tokens: { … }, policies: { … } }
 *
 * Two peers that change different fields of a record both win; deleting a record beats changing it. Whatever is applied
 * here must have been verified before: Automerge itself authenticates nothing.
 */
export class Document {
  /** What it begins with, as long as nothing more is asked of it: a state that was saved, else the genesis alone. */
  readonly #genesis: Uint8Array
  #saved: SavedDocument | null
  #made: Handle | null = null
  readonly #actor: string | undefined
  /** Changes that nothing applied builds on; null when only Automerge knows. Asked for all of a thousand, it takes 1 ms. */
  #heads: SortedMap<true> | null = null
  /** Changes of which it was told by {@link expect} and that it has not been given. */
  #owed = 0

  /**
   * A document that begins with the genesis change, or with what was saved. `actor` is who its own changes are by. It is made
   * or read when it is first asked for more than its heads: most of what an agent does goes without.
   */
  constructor(genesisChunk: Uint8Array, actor?: string, saved: SavedDocument | null = null) {
    this.#genesis = genesisChunk
    this.#actor = actor
    this.#saved = saved
  }

  get #handle(): Handle {
    if (this.#owed > 0) throw new Error('what it was told of has to be given first')
    return this.#own()
  }

  #own(): Handle {
    if (this.#made == null) {
      if (this.#saved == null) {
        this.#made = newHandle(this.#actor)
        this.#made.applyChanges([this.#genesis])
      } else this.#made = loaded(this.#saved, this.#actor)
      this.#saved = null
    }
    return this.#made
  }

  /** Reads now what was saved. MalformedError when it is not what its heads name: Automerge hashes each change anew. */
  load(): void {
    void this.#handle
  }

  /** It is in memory, some MB for a thousand records. */
  get isOpen(): boolean {
    return this.#made != null
  }

  /** What the constructor takes. */
  save(): SavedDocument {
    if (this.#saved != null) return this.#saved
    const handle = this.#handle
    return { bytes: handle.save(), heads: handle.getHeads() }
  }

  /** What the constructor was given, as long as it is not open: the changes of which it was told before are not in it. */
  get saved(): SavedDocument | null {
    return this.#saved
  }

  /** Somebody else has given what was saved the first so many changes of which this was told. */
  given(saved: SavedDocument, changes: number): void {
    if (this.isOpen) return
    this.#saved = saved
    this.#owed -= changes
  }

  /** Gives the memory back, until something is asked again. `saved`: what {@link save} has just returned. */
  close(saved: SavedDocument): void {
    this.#saved = saved
    this.#made?.free()
    this.#made = null
  }

  /** Applies changes that it does not hold; all that they build on is held, or stands before them. */
  apply(changes: readonly Applicable[]): void {
    this.expect(changes)
    this.give(changes)
  }

  /**
   * Tells of changes as {@link apply} does, which are to be given later, many at once: for one by a new author Automerge goes
   * through the whole document. Nothing but {@link heads} may be asked before.
   */
  expect(changes: readonly Applicable[]): void {
    let heads = this.heads()
    for (const { hash, chunk } of changes) {
      for (const dep of depsOf(chunk)) heads = heads.without(dep)
      heads = heads.with(hash, true)
    }
    this.#heads = heads
    this.#owed += changes.length
  }

  /** As {@link expect} at the beginning, of so many changes by which it comes to these heads. */
  expectUpTo(heads: readonly string[], changes: number): void {
    this.#heads = headsOf(heads)
    this.#owed += changes
  }

  /** All that it was told of, or what comes next of it, in that order. */
  give(changes: readonly Pick<Applicable, 'chunk'>[]): void {
    this.#owed -= changes.length
    const handle = this.#own()
    for (const batch of inBatches(changes, applyBatchMax)) handle.applyChanges(batch.map(({ chunk }) => chunk))
  }

  /** Applies changes as {@link apply} does; which heads it comes to is for Automerge to say. */
  take(chunks: Iterable<Uint8Array>): void {
    this.#heads = null
    for (const batch of inBatches(chunks, applyBatchMax)) this.#handle.applyChanges(batch)
  }

  /**
   * Makes one change of its own by `write` and returns it; null when nothing was written. `via`: on whose behalf, kept as
   * the change's message.
   */
  change(write: (writer: Writer) => void, via: string | null = null): Uint8Array | null {
    const handle = this.#handle
    try {
      write({
        put(kind, id, fields) {
          const bucket = bucketOf(kind, id)
          const found = handle.getWithType(bucket, id)
          const object = found?.[0] === 'map' ? found[1] : handle.putObject(bucket, id, {})
          for (const [field, value] of Object.entries(fields)) putValue(handle, object, field, value)
        },
        remove(kind, id) {
          handle.delete(bucketOf(kind, id), id)
        }
      })
    } catch (error) {
      handle.rollback()
      throw error
    }
    if (handle.pendingOps() === 0) return null
    handle.commit(via, 0)
    this.#heads = null
    return lastChange(handle)
  }

  /** The record as it was merged; undefined when there is none. It may hold anything that a member wrote. */
  read(kind: Kind, id: string): unknown {
    const found = this.#handle.getWithType(bucketOf(kind, id), id)
    if (found == null) return undefined
    return found[0] === 'map' ? plain(this.#handle.materialize(found[1])) : null
  }

  /** True when that operation has made what stands under this id, and nobody has written anything else there. */
  isMadeBy(object: string, kind: Kind, id: string): boolean {
    const all: unknown[] = this.#handle.getAll(bucketOf(kind, id), id)
    const [only] = all as Array<[type: string, object: string]>
    return all.length === 1 && only?.[0] === 'map' && only[1] === object
  }

  /** {@link read} for whoever reads most of it, several times as fast; to be used at once, not after a change. */
  reader(): (kind: Kind, id: string) => unknown {
    const buckets = new Map<string, unknown>()
    return (kind, id) => {
      const name = bucketOf(kind, id)
      const bucket = buckets.get(name) ?? this.#handle.materialize(name)
      buckets.set(name, bucket)
      // Whatever a member may have put there instead of a record.
      const record: unknown = isPlainObject(bucket) && Object.hasOwn(bucket, id) ? Reflect.get(bucket, id) : null
      return isPlainObject(record) ? plain(record) : this.read(kind, id)
    }
  }

  /** A change that is in it, by its hash; null when none is. */
  chunk(hash: string): Uint8Array | null {
    const chunk = this.#handle.getChangeByHash(hash)
    return chunk == null ? null : plainChunk(chunk)
  }

  /** Hex hashes of the changes that nothing in it builds on. */
  heads(): SortedMap<true> {
    this.#heads ??= headsOf(this.#saved?.heads ?? this.#made?.getHeads() ?? [hex(parseChunk(this.#genesis).hash)])
    return this.#heads
  }

  /** Gives the memory back. The document must not be used any more. */
  free(): void {
    this.#made?.free()
  }
}

function headsOf(hashes: readonly string[]): SortedMap<true> {
  let heads: SortedMap<true> = SortedMap.empty
  for (const hash of hashes) heads = heads.with(hash, true)
  return heads
}

/** A change, and the hash that it has. */
export interface Applicable {
  hash: string
  chunk: Uint8Array
}

export interface SavedDocument {
  bytes: Uint8Array
  heads: string[]
}

export const KINDS = ['peers', 'services', 'routes', 'tokens', 'policies'] as const
export type Kind = (typeof KINDS)[number]
/** What one record of a kind is called. */
export const SINGULAR = {
  peers: 'peer',
  services: 'service',
  routes: 'route',
  tokens: 'token',
  policies: 'policy'
} as const satisfies Record<Kind, string>
/** Maps per kind. Each costs 10 µs whenever a document is made anew, so what there is little of has few. */
const BUCKETS: Record<Kind, number> = { peers: 256, services: 256, routes: 256, tokens: 16, policies: 1 }
/** Operations of the genesis before a kind's own. */
const BEFORE = Object.fromEntries(
  KINDS.map((kind, k) => [kind, KINDS.slice(0, k).reduce((sum, one) => sum + BUCKETS[one] + 1, 0)])
) as Record<Kind, number>

export interface Writer {
  /** Sets these fields of a record, which is made when there is none; its other fields stay. */
  put(kind: Kind, id: string, fields: Record<string, FieldValue>): void
  remove(kind: Kind, id: string): void
}
export type FieldValue = string | number | boolean | null | string[]

/** The operations of a change, as far as they matter here. Each has the number after the one before it. */
export interface Operations {
  /** The number of the first; an operation's id is `number@actor`. */
  start: number
  list: Operation[]
  /** What the change says of itself. */
  message: string | null
  /** Made of what records are made of, and of nothing else. */
  isPlain: boolean
}

export interface Operation {
  id: string
  action: string
  /** The object that it changes: `_root` or the id of the operation that made it. */
  object: string
  /** Of a map. */
  key: string | null
  /** Of a list: `_head` or the id of the operation that inserted the element. */
  element: string | null
  /** It makes an element of a list, after that one. */
  insert: boolean
  /** Ids of the operations that it replaces. */
  replaces: string[]
  /** What is set; undefined for an operation that sets nothing. */
  value: unknown
}

/** What a change does. Throws for bytes that are no change to Automerge. */
export const operationsOf = (chunk: Uint8Array): Operations =>
  readOperations(chunk) ?? operationsIn(automerge().decodeChange(chunk))

/**
 * The same, of a change of somebody else. null unless these are exactly the bytes that Automerge itself makes of what is in
 * them: it takes in much that it never writes, and some of that makes it panic later, at a read that has nothing to do with
 * it.
 */
export function canonicalOperationsOf(chunk: Uint8Array): Operations | null {
  const read = readOperations(chunk)
  if (read != null) return read
  const { decodeChange, encodeChange } = automerge()
  const decoded = decodeChange(chunk)
  return equalBytes(plainChunk(encodeChange(decoded)), chunk) ? operationsIn(decoded) : null
}

/** As Automerge has read them. */
export function operationsIn({ ops, startOp, actor, message }: DecodedChange): Operations {
  const list = ops.map((op, i) => ({
    id: `${startOp + i}@${actor}`,
    action: op.action,
    object: op.obj,
    key: op.key ?? null,
    element: (op as { elemId?: string }).elemId ?? null,
    insert: (op as { insert?: boolean }).insert === true,
    replaces: op.pred,
    value: (op as { value?: unknown }).value
  }))
  return { start: startOp, list, message, isPlain: false }
}

/** On whose behalf a change was made, as its author says; null when on nobody's. */
export const viaOf = (chunk: Uint8Array): string | null => operationsOf(chunk).message?.slice(0, viaLengthMax) ?? null

/** True when a first change makes the root maps and their buckets, each where all peers look for it. */
export function isGenesisChunk(chunk: Uint8Array): boolean {
  if (hex(parseChunk(chunk).hash) === GENESIS_HASH) return true
  const made = new Map(operationsOf(chunk).list.map((operation) => [operation.id, operation]))
  const expected = KINDS.flatMap((kind) => [
    { id: genesisObject(kind, 0), object: '_root', key: kind },
    ...Array.from({ length: BUCKETS[kind] }, (_, i) => ({
      id: genesisObject(kind, i + 1),
      object: genesisObject(kind, 0),
      key: bucketName(i)
    }))
  ])
  if (made.size !== expected.length) return false
  return expected.every(({ id, object, key }) => {
    const found = made.get(id)
    return found?.action === 'makeMap' && found.object === object && found.key === key
  })
}

/** The objects that the genesis makes, named by their operation's place in it: each kind's map and its buckets. */
export const GENESIS_OBJECTS: ReadonlyMap<string, { kind: Kind; isBucket: boolean }> = new Map(
  KINDS.flatMap((kind) =>
    Array.from({ length: BUCKETS[kind] + 1 }, (_, i) => [genesisObject(kind, i), { kind, isBucket: i > 0 }] as const)
  )
)

/** How many operations the genesis has. */
export const GENESIS_OPERATIONS: number = KINDS.reduce((sum, kind) => sum + BUCKETS[kind] + 1, 0)

/** `i`: 0 for the kind's map, then its buckets. */
function genesisObject(kind: Kind, i: number): string {
  return `${BEFORE[kind] + i + 1}@${GENESIS_ACTOR}`
}

/** FNV-1a, one byte of it. Part of the format: all peers must find a record in the same bucket. */
export function bucketOf(kind: Kind, id: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  return genesisObject(kind, ((hash >>> 0) % BUCKETS[kind]) + 1)
}

const bucketName = (i: number): string => i.toString(16).padStart(2, '0')

type Handle = ReturnType<typeof getBackend>

function newHandle(actor?: string): Handle {
  const { getBackend, init } = automerge()
  return getBackend(init(actor == null ? {} : { actor }))
}

function loaded({ bytes, heads }: SavedDocument, actor?: string): Handle {
  const handle = newHandle(actor)
  try {
    handle.loadIncremental(bytes)
  } catch (error) {
    throw new MalformedError(`the document cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (handle.getHeads().toSorted().join() !== [...heads].toSorted().join()) {
    throw new MalformedError('the document is another one than its heads name')
  }
  return handle
}

function lastChange(handle: Handle): Uint8Array {
  const chunk = handle.getLastLocalChange()
  if (chunk == null) throw new Error('Automerge made no change of what was written')
  return plainChunk(chunk)
}

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value != null && Object.getPrototypeOf(value) === Object.prototype

/** Automerge's own wrapper of whole strings, taken off. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value == null) return value
  if (automerge().isImmutableString(value)) return value.toString()
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

function putValue(handle: Handle, object: string, field: string, value: FieldValue): void {
  if (!Array.isArray(value)) {
    handle.put(object, field, value)
    return
  }
  const list = handle.putObject(object, field, [])
  for (const item of value) handle.push(list, item)
}
