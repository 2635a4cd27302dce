import { isoTime, type Clock } from '../clock.ts'
import { ConflictError, InvalidRequestError } from '../errors.ts'
import { MalformedError } from './bytes.ts'
import type { Cluster } from './cluster.ts'
import type { Kind } from './document.ts'
import { bodyOf, parseEnvelope } from './envelope.ts'
import { EquivocationError } from './evidence.ts'
import { findChange } from './find-change.ts'
import { Fold } from './fold.ts'
import { Ledger, openEnvelope } from './ledger.ts'
import type { Entry } from './entries.ts'
import { historyBatchMax } from './limits.ts'
import { originIn, type Origin } from './origin.ts'
import type { View } from './view.ts'

/** A moment of the cluster: wall-clock ms, or a change by its hash or a start of it. */
export type Moment = { time: number } | { change: string }

/** The cluster as it was. */
export interface Past {
  view: View
  /** The last change by then that wrote a record. */
  originOf(kind: Kind, id: string): Origin | null
}

/**
 * The state at a moment, folded anew of what counts:
 *
 * - at a time: all changes that count today and bear that time or an earlier one, by their authors' clocks;
 * - at a change: that one and everything that it was made on top of, whatever came in from elsewhere meanwhile. Who was a
 *   member is taken from what the auth log said by the time that the change bears.
 *
 * A change whose predecessor is left out is left out too. InvalidRequestError for a time before the cluster or to come,
 * ConflictError (409) for a change that does not count, `not_found`.
 */
export async function pastOf(cluster: Cluster, moment: Moment, clock: Clock): Promise<Past> {
  const wanted = 'time' in moment ? untilTime(cluster, moment.time, clock) : untilChange(cluster, moment.change)
  const ledger = new Ledger(cluster.genesis)
  const fold = new Fold(ledger, PAST_ACTOR, (entry) => bodyOf(entry.bytes as Uint8Array))
  let batch: Entry[] = []
  for (const [i, entry] of cluster.durable().entries()) {
    // A long history takes seconds, in which the agent has other things to do.
    if (i % historyBatchMax === historyBatchMax - 1) {
      fold.integrate(batch)
      batch = []
      await clock.sleep(0)
    }
    if (!wanted(entry)) continue
    const item = openEnvelope(parseEnvelope(cluster.bytesOf(entry)), { own: true })
    if (follows(ledger, item)) batch.push(ledger.add(item))
  }
  fold.integrate(batch)
  const { view } = fold
  fold.free()
  return { view, originOf: (kind, id) => originIn(ledger.entries, ledger.entries.length, kind, id) }
}

/** Nobody writes in the past. */
const PAST_ACTOR = 'ff'.repeat(36)

function untilTime({ genesis }: Cluster, time: number, clock: Clock): (entry: Entry) => boolean {
  if (time < genesis.createdAt) {
    throw new InvalidRequestError(
      `at ${isoTime(time)} there was no cluster yet; it was founded at ${isoTime(genesis.createdAt)}`,
      { at: isoTime(time), founded_at: isoTime(genesis.createdAt) }
    )
  }
  if (time > clock.now()) {
    throw new InvalidRequestError(`${isoTime(time)} is still to come; give a time that has been`, { at: isoTime(time) })
  }
  return (entry) => entry.writtenAt <= time && (entry.auth != null || entry.valid)
}

function untilChange(cluster: Cluster, change: string): (entry: Entry) => boolean {
  const last = findChange(cluster, change)
  const reason = cluster.fold.reasonAgainst(last)
  if (reason != null) {
    throw new ConflictError(
      409,
      `change ${last.hash.slice(0, 12)} does not count (${reason}), so nothing was ever so`,
      {
        change: last.hash
      }
    )
  }
  const isEarlier = ({ writtenAt, index }: Entry): boolean => writtenAt <= last.writtenAt && index <= last.index
  if (last.auth != null) return (entry) => isEarlier(entry) && (entry.auth != null || entry.valid)
  const { entries } = cluster.ledger
  const beneath = new Set([last.index])
  for (const index of beneath) for (const before of entries.dependenciesOf(index)) beneath.add(before)
  const authors = new Set([...beneath].map((index) => entries.at(index)?.authorId))
  return (entry) => {
    if (entry.auth == null) return beneath.has(entry.index)
    const admits = entry.auth.operation === 'admit' && authors.has(entry.auth.peer) && entry.index <= last.index
    return isEarlier(entry) || admits
  }
}

/** Whether all that it builds on has been taken; of two that exclude each other, the first is. */
function follows(ledger: Ledger, item: Parameters<Ledger['waitsFor']>[0]): boolean {
  try {
    return ledger.waitsFor(item) == null
  } catch (error) {
    if (error instanceof EquivocationError || error instanceof MalformedError) return false
    throw error
  }
}
