import type { Clock } from '../clock.ts'
import { copyOf, hex, MalformedError } from './bytes.ts'
import { parseChunk } from './chunk.ts'
import { KINDS, type Kind } from './document.ts'
import { envelopeKindNumber, parseEnvelope, partsOfActor, TIME_MAX } from './envelope.ts'
import type { Epoch } from './epoch.ts'
import { asAdmin } from './fold.ts'
import type { Genesis } from './genesis.ts'
import { Intake } from './intake.ts'
import { JsonRows } from './json-rows.ts'
import { Ledger } from './ledger.ts'
import type { Entry } from './entries.ts'
import { authEnvelopeBytesMax, verifyBatchMax } from './limits.ts'
import type { EnvelopeBytes } from './replicated.ts'
import type { OpenScratch } from './scratch.ts'
import {
  decodeSnapshot,
  digestOf,
  NOWHERE,
  restoreEntries,
  type EntryRow,
  type Snapshot,
  type SnapshotHead
} from './snapshot.ts'
import type { PlacedObject } from './touch.ts'
import { membersOf } from './validity.ts'

/**
 * A snapshot that another peer hands over, and that an admin has signed. Its entries are hollow: their hashes and what
 * came of them are here, their envelopes and so their authors' signatures are not. It is believed for as long as it takes
 * to verify the history behind it (`behind.ts`), and only after this:
 *
 * 1. every entry of the auth log is here and verified;
 * 2. an epoch among them names just these bytes, and its author is an admin by that auth log;
 * 3. what is in it has the form that it must have, and the entries of the auth log in it are those just verified.
 *
 * MalformedError says what is wrong; then the whole history is taken instead.
 */
export async function checkHollow(parts: {
  genesis: Genesis
  auth: EnvelopeBytes[]
  file: Uint8Array
  clock: Clock
  scratch: OpenScratch
}): Promise<Hollow> {
  const { genesis, auth, file, clock, scratch } = parts
  const authLog = await verifiedAuthLog(genesis, auth, clock)
  const digest = digestOf(file)
  const epoch = epochOf(authLog, digest)
  if (epoch == null) throw new MalformedError('no admin has signed it')
  const { bytes, entries } = epoch.auth as Epoch
  if (bytes !== file.length) throw new MalformedError('its size is not the one that was signed')
  const snapshot = decodeSnapshot(file)
  const { head } = snapshot
  checkHead(head)
  if (head.owed != null) throw new MalformedError('its document is not whole')
  // Else it could be taken for one of this peer's own once the history behind it is a segment.
  if (head.segments !== 0 || head.bytes !== 0) throw new MalformedError('it was not made for others')
  if (head.cluster !== genesis.clusterId) throw new MalformedError('it is of another cluster')
  if (head.entries.length !== entries) throw new MalformedError('it has not as many entries as were signed')
  const ledger = new Ledger(genesis, scratch)
  restoreEntries(ledger, { ...head, objects: checkedObjects(head), entries: checkedEntries(head, ledger, authLog) })
  // What is named twice leaves out another one, and the number of all would still be right.
  if (ledger.touches.objects.length !== head.objects.length) throw wrong('objects')
  checkHeads(head, ledger)
  const tail = authLog.entries.filter(({ hash }) => ledger.get(hash) == null).map((entry) => entry.bytes as Uint8Array)
  return { snapshot, ledger, digest, tail }
}

export interface Hollow {
  snapshot: Snapshot
  /** Of its entries. */
  ledger: Ledger
  digest: string
  /** Entries of the auth log that it does not cover; the epoch is one of them. */
  tail: EnvelopeBytes[]
}

/** The epoch of these bytes whose author was an admin then, as far as these entries tell. */
export function epochOf(ledger: Ledger, digest: string): Entry | null {
  const auth = ledger.authEntries().map((entry) => ({ envelope: entry, entry: entry.auth }))
  const membership = membersOf(ledger.genesis, auth)
  const found = ledger.entries.findLast(
    (entry) =>
      entry.auth?.operation === 'epoch' && entry.auth.digest === digest && membership.fault(asAdmin(entry)) == null
  )
  return found ?? null
}

async function verifiedAuthLog(genesis: Genesis, auth: EnvelopeBytes[], clock: Clock): Promise<Ledger> {
  const ledger = new Ledger(genesis)
  const intake = new Intake(ledger)
  const added: Entry[] = []
  for (const [i, bytes] of auth.entries()) {
    if (i % verifyBatchMax === verifyBatchMax - 1) await clock.sleep(0)
    if (bytes[1] !== envelopeKindNumber('auth'))
      throw new MalformedError('something else stands in the auth log with it')
    const outcome = intake.take(copyOf(bytes), added)
    if (outcome !== 'accepted' && outcome !== 'known') {
      throw new MalformedError(
        `the auth log with it is not good: ${outcome === 'waiting' ? 'it has a gap' : outcome.refused}`
      )
    }
  }
  return ledger
}

/** What this peer writes builds on them, and others wait for what they do not know. */
function checkHeads({ heads }: SnapshotHead, ledger: Ledger): void {
  const first = hex(parseChunk(ledger.genesis.chunk).hash)
  const isOne = (hash: string): boolean => hash === first || ledger.get(hash)?.valid === true
  if (!heads.every(isOne)) throw new MalformedError('its heads are none of its changes')
}

/** It was signed, but by whom may prove to be no friend: nothing is taken that could do harm by its form. */
function checkHead({ heads, actors, entries, objects, records }: SnapshotHead): void {
  for (const list of [heads, actors]) if (!Array.isArray(list)) throw wrong('contents')
  for (const list of [entries, objects, records]) if (!(list instanceof JsonRows)) throw wrong('contents')
  if (!heads.every((hash) => isHex(hash, 64))) throw wrong('heads')
  if (!actors.every((actor) => isHex(actor, 72) || isHex(actor, 74))) throw wrong('actors')
  const named = new Set<string>()
  for (const record of records) {
    if (!Array.isArray(record) || !isKind(record[0]) || typeof record[1] !== 'string') throw wrong('records')
    if (!isNumber(record[3] + 1, entries.length)) throw wrong('records')
    named.add(`${record[0]}/${record[1]}`)
  }
  if (named.size !== records.length) throw wrong('records')
}

function* checkedObjects({ objects }: SnapshotHead): Generator<PlacedObject> {
  for (const object of objects) {
    if (!Array.isArray(object) || !isObject(object)) throw wrong('objects')
    yield object
  }
}

/** Each as it is needed, those before it being in the ledger. `authLog`: what of that was handed over and verified. */
function* checkedEntries({ actors, entries }: SnapshotHead, ledger: Ledger, authLog: Ledger): Generator<EntryRow> {
  let index = 0
  for (const row of entries) {
    if (!Array.isArray(row) || !isRow(row, index++, actors) || ledger.get(row[3]) != null) throw wrong('entries')
    const isAuth = row[13] != null
    if (isAuth && !isHeld(row, actors, authLog)) {
      throw new MalformedError('it holds an entry of the auth log that was not handed over')
    }
    yield row
  }
}

function isHeld(row: EntryRow, actors: readonly string[], authLog: Ledger): boolean {
  const [actor, seq, writtenAt, hash] = row
  const held = authLog.get(hash)
  if (held == null || held.actor !== actors[actor] || held.seq !== seq || held.writtenAt !== writtenAt) return false
  return parseEnvelope(Buffer.from(row[13] ?? '', 'base64')).hash === hash
}

const wrong = (what: string): MalformedError => new MalformedError(`its ${what} are not in their form`)

function isRow(row: EntryRow, index: number, actors: readonly string[]): boolean {
  const [actor, seq, writtenAt, hash, deps, firstOperation, operationCount, touches, forbidden] = row
  const [, , , , , , , , , needsAdmin, valid, offset, length, auth] = row
  if (!isNumber(actor, actors.length - 1) || !isNumber(seq) || seq === 0 || !isNumber(writtenAt, TIME_MAX)) return false
  if (!isHex(hash, 64) || !Array.isArray(deps) || !deps.every((dep) => isNumber(dep, index - 1))) return false
  if (!isNumber(firstOperation) || !isNumber(operationCount) || !isNumber(length, authEnvelopeBytesMax)) return false
  if (!Array.isArray(touches) || touches.length % 2 !== 0) return false
  if (!touches.every((text, i) => (i % 2 === 0 ? isKind(text) : typeof text === 'string'))) return false
  if (forbidden !== null && typeof forbidden !== 'string') return false
  if (!isNumber(needsAdmin, 1) || !isNumber(valid, 1) || offset !== NOWHERE) return false
  const isAuth = partsOfActor(actors[actor] as string).kind === 'auth'
  return isAuth ? typeof auth === 'string' : auth === undefined
}

function isObject([id, isMap, kind, owner, field]: PlacedObject): boolean {
  if (typeof id !== 'string' || !isNumber(isMap, 1)) return false
  if (kind !== null && !isKind(kind)) return false
  return (owner === null || typeof owner === 'string') && (field === null || typeof field === 'string')
}

const isHex = (text: unknown, length: number): text is string =>
  typeof text === 'string' && text.length === length && /^[0-9a-f]*$/.test(text)

const isNumber = (value: unknown, max: number = Number.MAX_SAFE_INTEGER): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max

const isKind = (value: unknown): value is Kind => (KINDS as readonly unknown[]).includes(value)
