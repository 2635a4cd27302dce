import type { Kind, SavedDocument } from './document.ts'
import type { Ledger } from './ledger.ts'
import type { Records } from './records.ts'
import type { ToldRecords } from './told.ts'

/** What the entries of a ledger have become: see `Fold.save`. */
export interface SavedFold {
  document: SavedDocument
  /** `by`: the index of the change that showed what is wrong with a record; -1 for one that is right. */
  records: Array<[kind: Kind, id: string, value: unknown, by: number]>
  /** What the changes say of each record; null where Automerge alone can tell of some that were never named. */
  told: ToldRecords | null
  /** Indices of valid changes that are not in the document yet. */
  owed: number[]
  /** The heads with those; null where they have to be found. */
  tips: string[] | null
}

/** In place of one that is made meanwhile. */
export const NO_DOCUMENT: SavedDocument = { bytes: new Uint8Array(), heads: [] }

/** All that are right, and those that are not, as `read` has them. */
export function recordsToSave(
  records: Records,
  ledger: Ledger,
  read: (kind: Kind, id: string) => unknown
): SavedFold['records'] {
  const saved: SavedFold['records'] = [...records.held()].map((record) => [...record, -1])
  for (const [key, { hash }] of records.rejected) {
    const [kind, id] = splitKey(key)
    saved.push([kind, id, read(kind, id), ledger.get(hash)?.index ?? -1])
  }
  return saved
}

function splitKey(key: string): [kind: Kind, id: string] {
  const at = key.indexOf('/')
  return [key.slice(0, at) as Kind, key.slice(at + 1)]
}
