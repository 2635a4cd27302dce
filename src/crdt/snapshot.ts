import { createHash } from 'node:crypto'
import { ByteReader, concat, equalBytes, MalformedError, u32 } from './bytes.ts'
import type { Kind } from './document.ts'
import { parseEnvelope } from './envelope.ts'
import type { SavedFold } from './fold.ts'
import { openEnvelope, type Ledger } from './ledger.ts'
import type { Entries, Entry } from './entries.ts'
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
  entries: EntryRow[]
  objects: PlacedObject[]
  /** `by`: the place of the change that showed what is wrong with a record; -1 for one that is right. */
  records: Array<[kind: Kind, id: string, value: unknown, by: number]>
  /** Places of valid changes that the document, and so `heads`, lacks; left out when there is none. */
  owed?: number[]
}

type EntryRow = [
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

const MAGIC = Buffer.from('ARCTSNAP')
/** With and without changes that the document lacks. */
const VERSIONS = { whole: 1, owing: 2 }
const DIGEST_AT = MAGIC.length + 4
const REST_AT = DIGEST_AT + 32

export function encodeSnapshot({ head, document }: Snapshot): Uint8Array {
  const json = Buffer.from(JSON.stringify(head))
  const rest = concat([u32(json.length), json, document])
  const version = head.owed == null ? VERSIONS.whole : VERSIONS.owing
  return concat([MAGIC, u32(version), createHash('sha256').update(rest).digest(), rest])
}

/** SHA-256 of a whole snapshot, hex. */
export const digestOf = (file: Uint8Array): string => createHash('sha256').update(file).digest('hex')

/** Throws MalformedError, whose message completes "the snapshot is not used: …". */
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
  return { head: JSON.parse(Buffer.from(json).toString()) as SnapshotHead, document: reader.take(reader.left) }
}

/** All that memory holds of a cluster at one instant; see {@link withOffsets} for what is not durable yet. */
export type Captured = Omit<SnapshotHead, 'segments' | 'bytes'> & { document: Uint8Array }

export function capture(
  ledger: Ledger,
  { document, records, owed }: SavedFold,
  bytesOf: (entry: Entry) => Uint8Array
): Captured {
  return {
    cluster: ledger.genesis.clusterId,
    heads: document.heads,
    objects: ledger.touches.save(),
    records,
    ...(owed.length === 0 ? {} : { owed }),
    ...entryRows(ledger, bytesOf),
    document: document.bytes
  }
}

type Index = Pick<SnapshotHead, 'actors' | 'entries'>

/** The index of all entries of a ledger. */
function entryRows(ledger: Ledger, bytesOf: (entry: Entry) => Uint8Array): Index {
  const actors: string[] = []
  const places = new Map<string, number>()
  const place = (actor: string): number => {
    let found = places.get(actor)
    if (found == null) {
      found = actors.push(actor) - 1
      places.set(actor, found)
    }
    return found
  }
  const entries = Array.from(ledger.entries, (entry): EntryRow => {
    const row: EntryRow = [
      place(entry.actor),
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
      entry.offset,
      entry.length
    ]
    if (entry.auth != null) row.push(Buffer.from(bytesOf(entry)).toString('base64'))
    return row
  })
  return { actors, entries }
}

/** Says of each entry where it stands, now that all are durable. */
export function withOffsets(rows: readonly EntryRow[], durable: Entries): void {
  for (const [i, row] of rows.entries()) row[OFFSET] = (durable.at(i) as Entry).offset
}

/** Says of no entry where it stands: for others, on whose disks it stands elsewhere. */
export function withoutOffsets(rows: readonly EntryRow[]): void {
  for (const row of rows) row[OFFSET] = NOWHERE
}

/** The offset of an entry whose envelope is not here. */
export const NOWHERE = -1

/** Puts the entries of a snapshot into a ledger that is empty. */
export function restoreEntries(ledger: Ledger, { actors, entries, objects }: SnapshotHead): void {
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
