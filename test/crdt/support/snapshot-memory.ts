import { Captured } from '../../../src/crdt/snapshot.ts'
import { fold, held, ledger, work } from './worked-history.ts'

/** Prints what a snapshot takes of memory while it is made, bytes for each of so many changes: captured, and ready for the disk. */
const changes = 8_000
const none = { bytes: new Uint8Array(), heads: [] }

work(changes)
const saved = { ...fold.saveAsIs(), document: none, records: [], told: null, owed: [], tips: null }
const all = (): number => held().reduce((sum, bytes) => sum + bytes)
const before = all()
const captured = new Captured(ledger, saved, () => none.bytes, changes)
const between = all()
const pieces = captured.encode({ segments: 1, bytes: 0 }, () => 0)
const after = all()
const perChange = (bytes: number): number => Math.round((bytes - before) / changes)
process.stdout.write(JSON.stringify([perChange(between), perChange(after), pieces.length, captured.count]))
