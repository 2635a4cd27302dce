import { GCProfiler } from 'node:v8'
import { concat } from '../../../src/crdt/bytes.ts'
import { contradictionOf } from '../../../src/crdt/contradiction.ts'
import { Ledger } from '../../../src/crdt/ledger.ts'
import { Captured, decodeSnapshot, NOWHERE, restoreEntries } from '../../../src/crdt/snapshot.ts'
import { fold, held, ledger, work } from './worked-history.ts'

/**
 * Prints what a snapshot of so many changes takes of V8's heap while it is read, and while it is compared with the history: bytes for each
 * change, beyond what is held before and after.
 */
const changes = 20_000
const none = { bytes: new Uint8Array(), heads: [] }
const saved = (): ReturnType<typeof fold.save> => {
  const asIs = fold.saveAsIs()
  if (asIs == null) throw new Error('the document is open')
  return { ...asIs, document: none, owed: [], tips: null }
}

/** What came of it, to be held until all is measured. */
const kept: unknown[] = []

/** The most that V8 has held while something was made, but for what came of it; bytes for each change. */
function peakOf(made: () => unknown): number {
  held()
  const profiler = new GCProfiler()
  profiler.start()
  kept.push(made())
  const last = process.memoryUsage().heapUsed
  const { statistics } = profiler.stop()
  const most = Math.max(last, ...statistics.map(({ beforeGC }) => beforeGC.heapStatistics.usedHeapSize))
  held()
  return Math.round((most - process.memoryUsage().heapUsed) / changes)
}

work(changes)
const file = concat(
  new Captured(ledger, saved(), () => none.bytes, null).encode({ segments: 0, bytes: 0 }, () => NOWHERE)
)
const read = peakOf(() => {
  const { head } = decodeSnapshot(file)
  const restored = new Ledger(ledger.genesis)
  restoreEntries(restored, head)
  return restored
})
const compared = peakOf(() => {
  const flaw = contradictionOf(decodeSnapshot(file), { ledger, fold: { save: saved }, chunkOf: () => none.bytes })
  if (flaw != null) throw new Error(flaw)
  return flaw
})
process.stdout.write(JSON.stringify([read, compared]))
