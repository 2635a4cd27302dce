import { createHash } from 'node:crypto'
import { ByteReader, concat, equalBytes, MalformedError, piecesOf, sizeOf, u32, type Pieces } from './bytes.ts'
import type { Kind, SavedDocument } from './document.ts'
import { parseEnvelope } from './envelope.ts'
import { openEnvelope, type Ledger } from './ledger.ts'
import type { Base } from './log-records.ts'
import type { Entry } from './entries.ts'
import { JsonList } from './json-list.ts'
import { readObject, type Rows, type RowsIn } from './json-rows.ts'
import type { SavedFold } from './saved-fold.ts'
import { toldRows, type ToldHead } from './told-saved.ts'
import type { PlacedObject, Touch } from './touch.ts'

/**
 * What this peer made of the first so many entries, so that a start need not make it anew: the index of the entries, the
 * document as Automerge saves it, the records in it. It is a shortcut and no truth of its own: whatever is not right
 * about it, the history behind it is read instead.
 *
 *   "ARCTSNAP" | version u32 = 1, or 2 with "owed" | SHA-256 of the rest 32 | head length u32 | head, JSON | document
 *
 * The version grows with anything that lets the same entries become something else: the format, what a change may touch,
 * Automerge.
 */
export interface Snapshot {
  head: SnapshotHead
  document: Uint8Array
}

export interface SnapshotHead {
  cluster: string
  /** Segments put away, and the bytes in them: where the log in use goes on. */
  segments: number
  bytes: number
  heads: string[]
  actors: string[]
  entries: Rows<EntryRow>
  objects: Rows<PlacedObject>
  records: Rows<RecordRow>
  /** Places of valid changes that the document, and so `heads`, lacks; left out when there is none. */
  owed?: number[]
  /** The heads with those; left out by older versions, and when there is none. */
  tips?: string[]
  /** What the changes say of each record. Left out where it is not known, and by older versions. */
  told?: ToldInRows
}

/** {@link ToldHead}, read row by row. */
export type ToldInRows = Pick<ToldHead, 'left'> & { rows: Rows<ToldHead['rows'][number]> }

/** `by`: the place of the change that showed what is wrong with a record; -1 for one that is right. */
export type RecordRow = [kind: Kind, id: string, value: unknown, by: number]

export type EntryRow = [
  actor: number,
  seq: number,
  writtenAt: number,
  hash: string,
  deps: number[],
  firstOperation: number,
  operationCount: number,
  /** Kind and id, one after the other. */
  touches: string[],
  forbidden: string | null,
  needsAdmin: 0 | 1,
  valid: 0 | 1,
  offset: number,
  length: number,
  /** The envelope of an entry of the auth log, base64. */
  auth?: string
]

const OFFSET = 11

/** What is as long as the history, or as what there is. */
const LISTS: RowsIn = { entries: true, objects: true, records: true, told: { rows: true } }

const MAGIC = Buffer.from('ARCTSNAP')
/** With and without changes that the document lacks. */
const VERSIONS = { whole: 1, owing: 2 }
const DIGEST_AT = MAGIC.length + 4
const REST_AT = DIGEST_AT + 32

export const encodeSnapshot = ({ head, document }: Snapshot): Uint8Array =>
  concat(inFile([Buffer.from(JSON.stringify(head))], document, head.owed != null))

/** A head in pieces and a document, with what stands before them. */
function inFile(head: Uint8Array[], document: Uint8Array, isOwing: boolean): Uint8Array[] {
  const rest = [u32(sizeOf(head)), ...head, document]
  const version = u32(isOwing ? VERSIONS.owing : VERSIONS.whole)
  return [concat([MAGIC, version, Buffer.from(digestOf(rest), 'hex')]), ...rest]
}

/** SHA-256 of a whole snapshot, or of the pieces of one, hex. */
export function digestOf(file: Pieces): string {
  const hash = createHash('sha256')
  for (const piece of piecesOf(file)) hash.update(piece)
  return hash.digest('hex')
}

/**
 * Throws MalformedError, whose message completes "the snapshot is not used: …", as does who walks one of its lists later. Those are
 * read from `bytes`, row by row, whenever they are walked; so the head is to be held no longer than it is needed.
 */
export function decodeSnapshot(bytes: Uint8Array): Snapshot {
  const reader = new ByteReader(bytes)
  if (!equalBytes(reader.take(MAGIC.length), MAGIC)) throw new MalformedError('it is none')
  const version = reader.u32()
  if (version !== VERSIONS.whole && version !== VERSIONS.owing) {
    throw new MalformedError(`its format is version ${version}, this agent knows ${VERSIONS.owing}`)
  }
  const digest = reader.take(32)
  if (!equalBytes(createHash('sha256').update(bytes.subarray(REST_AT)).digest(), digest)) {
    throw new MalformedError('it is damaged')
  }
  const json = reader.take(reader.u32())
  // Of its form nothing is known yet.
  const head = readObject(json, LISTS) as unknown as SnapshotHead
  return { head, document: reader.take(reader.left) }
}

/**
 * All that memory holds of a cluster at one instant, as a snapshot says it. What is as long as the history is made at once, as
 * bytes of the file: an array for each entry, and texts of all of them, took 1.3 kB an entry for as long as a snapshot takes.
 */
export class Captured {
  document: SavedDocument
  /** How many entries. */
  readonly count: number
  /** The hash of the last entry. */
  readonly last: string | undefined
  readonly #cluster: string
  readonly #owed: Pick<SnapshotHead, 'owed' | 'tips'>
  readonly #actors: string[] = []
  readonly #objects = new JsonList()
  readonly #records = new JsonList()
  readonly #entries = new JsonList()
  readonly #told: { left: string[]; rows: JsonList } | null
  /** Those that are not durable yet: where they will stand is not known. */
  readonly #later: EntryRow[] = []

  /** The first `durable` entries are. null: it is for others, on whose disks all of them stand elsewhere. */
  constructor(
    ledger: Ledger,
    { document, records, owed, tips, told }: SavedFold,
    bytesOf: (entry: Entry) => Uint8Array,
    durable: number | null
  ) {
    const { entries, touches } = ledger
    this.document = document
    this.count = entries.length
    this.last = entries.at(-1)?.hash
    this.#cluster = ledger.genesis.clusterId
    this.#owed = owed.length === 0 ? {} : { owed, ...(tips == null ? {} : { tips }) }
    for (const object of touches.placed()) this.#objects.add(object)
    for (const record of records) this.#records.add(record)
    const places = new Map<string, number>()
    for (const entry of entries) {
      let place = places.get(entry.actor)
      if (place == null) places.set(entry.actor, (place = this.#actors.push(entry.actor) - 1))
      const row = entryRow(entry, place, durable == null ? NOWHERE : entry.offset, bytesOf)
      if (durable == null || entry.index < durable) this.#entries.add(row)
      else this.#later.push(row)
    }
    const rows = new JsonList()
    this.#told = told == null ? null : { left: [...told.left()].flat(), rows }
    if (told == null) return
    const placeOf = (actor: string): number => places.get(actor) ?? -1
    for (const row of toldRows(touches.placed(), told, records, placeOf)) rows.add(row)
  }

  /** The snapshot in pieces, to be made once. `offsetOf`: where an entry stands, now that all of them are durable. */
  encode(base: Base, offsetOf: (index: number) => number): Uint8Array[] {
    for (const row of this.#later.splice(0)) {
      row[OFFSET] = offsetOf(this.#entries.length)
      this.#entries.add(row)
    }
    const { bytes, heads } = this.document
    const small = JSON.stringify({ cluster: this.#cluster, heads, ...this.#owed, actors: this.#actors, ...base })
    const head = [
      Buffer.from(`${small.slice(0, -1)},"objects":`),
      ...this.#objects.end(),
      Buffer.from(',"records":'),
      ...this.#records.end(),
      Buffer.from(',"entries":'),
      ...this.#entries.end(),
      ...this.#endOfTold(),
      Buffer.from('}')
    ]
    return inFile(head, bytes, this.#owed.owed != null)
  }

  #endOfTold(): Uint8Array[] {
    if (this.#told == null) return []
    const { left, rows } = this.#told
    return [Buffer.from(`,"told":{"left":${JSON.stringify(left)},"rows":`), ...rows.end(), Buffer.from('}')]
  }
}

function entryRow(entry: Entry, actor: number, offset: number, bytesOf: (entry: Entry) => Uint8Array): EntryRow {
  const row: EntryRow = [
    actor,
    entry.seq,
    entry.writtenAt,
    entry.hash,
    entry.deps.map(({ index }) => index),
    entry.firstOperation,
    entry.operationCount,
    entry.touches.flatMap(({ kind, id }) => [kind, id]),
    entry.forbidden,
    entry.needsAdmin ? 1 : 0,
    entry.valid ? 1 : 0,
    offset,
    entry.length
  ]
  if (entry.auth != null) row.push(Buffer.from(bytesOf(entry)).toString('base64'))
  return row
}

/** The offset of an entry whose envelope is not here. */
export const NOWHERE = -1

/** Puts the entries of a snapshot into a ledger that is empty. */
export function restoreEntries(
  ledger: Ledger,
  {
    actors,
    entries,
    objects
  }: Pick<SnapshotHead, 'actors'> & {
    entries: Iterable<EntryRow>
    objects: Iterable<PlacedObject>
  }
): void {
  ledger.touches.restore(objects)
  for (const row of entries) {
    const [actor, seq, writtenAt, hash, deps, firstOperation, operationCount, touches, forbidden] = row
    const [, , , , , , , , , needsAdmin, valid, offset, length, auth] = row
    const bytes = auth == null ? null : Buffer.from(auth, 'base64')
    ledger.hold({
      actor: actors[actor] as string,
      seq,
      writtenAt,
      hash,
      dependencies: deps,
      firstOperation,
      operationCount,
      auth: bytes == null ? null : openEnvelope(parseEnvelope(bytes), { own: true }).auth,
      touches: Array.from({ length: touches.length / 2 }, (_, i): Touch => ({
        kind: touches[2 * i] as Kind,
        id: touches[2 * i + 1] as string
      })),
      operations: null,
      made: [],
      forbidden,
      needsAdmin: needsAdmin === 1,
      valid: valid === 1,
      offset,
      length,
      // What stands nowhere else is kept.
      bytes: offset === NOWHERE ? bytes : null
    })
  }
}
