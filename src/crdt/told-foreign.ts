import { MalformedError } from './bytes.ts'
import type { Kind } from './document.ts'
import type { Ledger } from './ledger.ts'
import type { SnapshotHead } from './snapshot.ts'
import type { SavedTold } from './told-saved.ts'

/**
 * What another peer tells of the records, in its form already, is believed until the history behind it is verified. What this peer
 * writes meanwhile names the operations in it, and who is told of one that there is not takes nothing more of this peer. So each is
 * one of a change in the same snapshot, which counts and writes that record; and what is shown stands there. MalformedError else.
 */
export function checkForeign(told: SavedTold, { records }: Pick<SnapshotHead, 'records'>, ledger: Ledger): void {
  let last: { kind: Kind; id: string; actor: string; first: number; end: number } | null = null
  for (const [kind, id, number, actor] of told.named()) {
    // Most of a record are of one change, which is looked at once.
    const isOfLast = last != null && id === last.id && kind === last.kind && actor === last.actor
    if (last != null && isOfLast && number >= last.first && number < last.end) continue
    const maker = ledger.makerOf(`${number}@${actor}`)
    if (maker?.valid !== true || !maker.touches.some((one) => one.kind === kind && one.id === id)) throw wrong(kind, id)
    last = { kind, id, actor, first: maker.firstOperation, end: maker.firstOperation + maker.operationCount }
  }
  const left = new Set<string>()
  for (const [kind, id] of told.left()) left.add(`${kind}/${id}`)
  for (const [kind, id] of records) {
    if (!told.isThere(kind, id) && !left.has(`${kind}/${id}`)) throw wrong(kind, id)
  }
}

const wrong = (kind: Kind, id: string): MalformedError =>
  new MalformedError(`what it says of who has set what in the record ${id} of ${kind} cannot be`)
