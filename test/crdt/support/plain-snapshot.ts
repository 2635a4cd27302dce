import { decodeSnapshot, type EntryRow, type RecordRow, type SnapshotHead } from '../../../src/crdt/snapshot.ts'
import type { ToldHead } from '../../../src/crdt/told-saved.ts'
import type { PlacedObject } from '../../../src/crdt/touch.ts'

/** A snapshot with all of its lists in memory, for who changes them. `encodeSnapshot` takes it. */
export interface PlainSnapshot {
  head: PlainHead
  document: Uint8Array
}

export type PlainHead = Omit<SnapshotHead, 'entries' | 'objects' | 'records' | 'told'> & {
  entries: EntryRow[]
  objects: PlacedObject[]
  records: RecordRow[]
  told?: ToldHead
}

export function plainSnapshot(file: Uint8Array): PlainSnapshot {
  const { head, document } = decodeSnapshot(file)
  const { entries, objects, records, told, ...rest } = head
  const lists = { entries: [...entries], objects: [...objects], records: [...records] }
  return {
    head: { ...rest, ...lists, ...(told == null ? {} : { told: { left: told.left, rows: [...told.rows] } }) },
    document
  }
}
