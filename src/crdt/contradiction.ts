import { operationsOf, type Operations } from './document.ts'
import type { Fold } from './fold.ts'
import type { Entry } from './entries.ts'
import type { Ledger } from './ledger.ts'
import type { EntryRow, RecordRow, Snapshot, SnapshotHead } from './snapshot.ts'
import { toldFalsely } from './told-falsely.ts'
import type { TouchIndex } from './touch.ts'

/**
 * What a snapshot says that the history it covers, and nothing more, has not come to; a sentence, or null. The order in
 * which peers hold their entries differs, so none of it is compared by its place.
 */
export function contradictionOf(
  { head }: Snapshot,
  { ledger, fold, chunkOf }: { ledger: Ledger; fold: Pick<Fold, 'save'>; chunkOf: (entry: Entry) => Uint8Array }
): string | null {
  if (head.entries.length !== ledger.entries.length) return 'it covers another number of entries'
  for (const row of head.entries) {
    const entry = ledger.get(row[3])
    if (entry == null) return `there is no change ${row[3]}`
    const field = differenceOf(head, row, entry)
    if (field != null) return `of change ${entry.hash} by ${entry.authorId} it says something else: ${field}`
  }
  const { document, records, told } = fold.save()
  if (sorted(document.heads) !== sorted(head.heads)) return 'what counts comes to another document'
  const strange = strangeObject(head, ledger.touches)
  if (strange != null) return strange
  const real = new Map(records.map((record) => [`${record[0]}/${record[1]}`, record]))
  if (real.size !== head.records.length) return 'what counts comes to another number of records'
  for (const record of head.records) {
    const [kind, id] = record
    const held = real.get(`${kind}/${id}`)
    if (held == null || saidOf(held) !== saidOf(record)) return `the record ${id} of ${kind} is another one`
  }
  if (head.told == null) return null
  const operationsIn = (entry: Entry): Operations => operationsOf(chunkOf(entry))
  const untold = toldFalsely({ ...head, told: head.told }, { ledger, told, operationsOf: operationsIn })
  return untold == null ? null : `of who has set what in the record ${untold[1]} of ${untold[0]} it says something else`
}

function strangeObject({ objects }: SnapshotHead, touches: TouchIndex): string | null {
  if (touches.objects.length !== objects.length) return 'what counts comes to other objects'
  for (const [id, isMap, kind, ownerId, field] of objects) {
    const held = touches.placeOf(id)
    const { owner = null } = held ?? {}
    const isSame =
      held?.isMap === (isMap === 1) &&
      held.field === field &&
      (owner?.kind ?? null) === kind &&
      (owner?.id ?? null) === ownerId
    if (!isSame) return `object ${id} is another one`
  }
  return null
}

/** What is said of a record, wherever the change stands that has shown what is wrong with it. */
const saidOf = ([, , value, by]: RecordRow): string => canonical([value, by === -1])

/** The field in which a row is not what the entry is. What it builds on is in its hash. */
function differenceOf({ actors }: SnapshotHead, row: EntryRow, entry: Entry): string | null {
  const [actor, seq, writtenAt, , , firstOperation, operationCount, touches, forbidden] = row
  const [, , , , , , , , , needsAdmin, valid, , length] = row
  const pairs: Array<[string, unknown, unknown]> = [
    ['its author', actors[actor], entry.actor],
    ['its number', seq, entry.seq],
    ['its time', writtenAt, entry.writtenAt],
    ['its operations', `${firstOperation} ${operationCount}`, `${entry.firstOperation} ${entry.operationCount}`],
    ['what it touches', touches.join(), entry.touches.flatMap(({ kind, id }) => [kind, id]).join()],
    ['whether it may be applied', forbidden == null, entry.forbidden == null],
    ['whether it takes an admin', needsAdmin === 1, entry.needsAdmin],
    ['whether it counts', valid === 1, entry.valid],
    ['its size', length, entry.length]
  ]
  return pairs.find(([, said, is]) => said !== is)?.[0] ?? null
}

const sorted = (hashes: readonly string[]): string => [...hashes].toSorted().join()

/** Equal for equal values, whatever the order of their keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    inner != null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  )
