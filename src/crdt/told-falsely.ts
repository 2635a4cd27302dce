import type { FieldValue, Kind, Operations } from './document.ts'
import type { Entry } from './entries.ts'
import type { Ledger } from './ledger.ts'
import { LiveRecords } from './live-records.ts'
import type { MadeRecord, Rivals, Setting } from './made-records.ts'
import type { SnapshotHead, ToldInRows } from './snapshot.ts'
import type { Standing, ToldRecords } from './told.ts'
import { ownerOf, SavedTold } from './told-saved.ts'
import type { TouchIndex } from './touch.ts'

/** Kind and id. */
type Name = readonly [kind: Kind, id: string]

/**
 * The first record of which a snapshot tells something else than the changes in the ledger that count; null when there is none. Its objects
 * are those of the ledger. What the fold of this ledger tells in the same words needs no second look. The rest is compared
 * with what has been written, since a fold leaves to Automerge what another one, which has heard of the same in another order, tells.
 */
export function toldFalsely(
  head: SnapshotHead & { told: ToldInRows },
  {
    ledger,
    told,
    operationsOf
  }: { ledger: Ledger; told: ToldRecords | null; operationsOf: (entry: Entry) => Operations }
): Name | null {
  const said = saidIn(head, ledger.touches)
  const doubtful = new Map<string, Name>()
  for (const name of namesIn(head, told)) {
    const isSaid = told != null && isSame(said(...name), told.told(...name))
    if (!isSaid) doubtful.set(name.join('/'), name)
  }
  if (doubtful.size === 0) return null
  const live = new LiveRecords(ledger.touches, (kind, id) => doubtful.has(`${kind}/${id}`))
  for (const entry of ledger.entries) {
    if (entry.kind !== 'change' || !entry.valid) continue
    const { touches } = entry
    if (!touches.some(({ kind, id }) => doubtful.has(`${kind}/${id}`))) continue
    live.add(ledger.isInOrder(entry, entry.deps) ? operationsOf(entry) : null, touches)
  }
  return doubtful.values().find((name) => !isSo(said(...name), live.standing(...name))) ?? null
}

/** undefined: nothing was ever there; null: left to Automerge. */
function saidIn(
  head: SnapshotHead & { told: ToldInRows },
  touches: TouchIndex
): (...name: Name) => Standing | null | undefined {
  const saved = new SavedTold(head, touches)
  const left = new Set([...saved.left()].map((name) => name.join('/')))
  return (kind, id) => (left.has(`${kind}/${id}`) ? null : saved.told(kind, id))
}

/** All that either says anything of, some more than once. */
function* namesIn(
  { objects, told: { left } }: SnapshotHead & { told: ToldInRows },
  told: ToldRecords | null
): Generator<Name> {
  for (const object of objects) {
    const owner = ownerOf(object)
    if (owner != null) yield owner
  }
  for (let i = 0; i < left.length; i += 2) yield [left[i] as Kind, left[i + 1] as string]
  yield* told?.left() ?? []
}

function isSo(said: Standing | null | undefined, live: ReturnType<LiveRecords['standing']>): boolean {
  // Who leaves a record to Automerge says nothing of it but that it was written.
  if (said == null || live == null) return said === null ? live !== undefined : said === live
  if ('gone' in said || 'goneOf' in live) return 'gone' in said && 'goneOf' in live && live.goneOf.has(said.gone)
  return isSameRecord(said, live)
}

function isSame(one: Standing | null | undefined, other: Standing | null | undefined): boolean {
  if (one == null || other == null) return one === other
  if ('gone' in one || 'gone' in other) return 'gone' in one && 'gone' in other && one.gone === other.gone
  return isSameRecord(one, other)
}

function isSameRecord(one: MadeRecord, other: MadeRecord): boolean {
  const names = Object.keys(one.fields)
  if (one.object !== other.object || names.length !== Object.keys(other.fields).length) return false
  const isEqual = names.every(
    (name) =>
      Object.hasOwn(other.fields, name) &&
      one.setBy[name] === other.setBy[name] &&
      isSameValue(one.fields[name], other.fields[name])
  )
  return isEqual && areSameRivals(one.rivals ?? NONE, other.rivals ?? NONE)
}

function areSameRivals(one: Rivals, other: Rivals): boolean {
  if (one.size !== other.size) return false
  return one.entries().every(([field, settings]) => {
    const others = other.get(field) ?? []
    const isSetting = ({ by, value }: Setting, i: number): boolean =>
      by === others[i]?.by && isSameValue(value, others[i]?.value)
    return settings.length === others.length && settings.every(isSetting)
  })
}

/** As a snapshot says them: there -0 is 0. */
const isSameValue = (one: FieldValue | undefined, other: FieldValue | undefined): boolean =>
  one === other || JSON.stringify(one) === JSON.stringify(other)

const NONE: Rivals = new Map()
