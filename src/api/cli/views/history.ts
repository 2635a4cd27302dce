import type { FieldValue } from '../../../crdt/document.ts'
import type {
  ChangedObjectJson,
  ChangeJson,
  EpochJson,
  UndoneJson,
  VerificationJson
} from '../../../actors/operator/history-json.ts'
import { bytes, shortPeer } from '../humane.ts'
import { type Cell, record, table, type TableOptions } from '../table.ts'

/** One row per object that a change touched; what it did not say again stands in the first row alone. */
export function historyText(changes: readonly ChangeJson[], { wide, colours }: TableOptions): string {
  if (changes.length === 0) return 'no change fits\n'
  return table(
    ['TIME', 'AUTHOR', 'CHANGE', 'SIGNATURE', 'WHAT'],
    changes.flatMap((change) => rowsOf(change, wide)),
    colours
  )
}

export function verificationText(verification: VerificationJson, { colours }: TableOptions): string {
  const { ok, cluster_id, founder, founded_at, verified, changes, auth_entries, invalid, authors, flaw } = verification
  return record(
    [
      ['history', ok ? { text: 'verified', colour: 'green' } : { text: 'FLAWED', colour: 'red' }],
      ['cluster', cluster_id],
      ['founded', `${founded_at} by ${shortPeer(founder)}`],
      ['envelopes', `${verified} verified (${bytes(verification.bytes)})`],
      ['changes', String(changes)],
      ['auth entries', String(auth_entries)],
      ['do not count', String(invalid)],
      ['authors', String(authors)],
      ...(flaw == null ? [] : ([['first flaw', flawText(flaw)]] as const))
    ],
    colours
  )
}

const flawText = ({ position, id, author, author_name, message }: NonNullable<VerificationJson['flaw']>): string => {
  const who = author == null ? '' : ` of ${author_name ?? shortPeer(author)}`
  return `at ${position}${id == null ? '' : `, change ${id}${who}`}: ${message}`
}

export const epochText = (epoch: EpochJson, { colours }: TableOptions): string =>
  record(
    [
      ['epoch', epoch.id],
      ['signed', `${epoch.at} by ${epoch.author_name ?? shortPeer(epoch.author)}`],
      ['covers', `${epoch.entries} entries`],
      ['snapshot', `${bytes(epoch.bytes)}, sha256 ${epoch.digest}`]
    ],
    colours
  )

export const undoneText = ({ undone, change }: UndoneJson, options: TableOptions): string =>
  `change ${undone.slice(0, 12)} is undone by\n${historyText([change], options)}`

function rowsOf(change: ChangeJson, wide: boolean): Cell[][] {
  const whats = change.objects.length === 0 ? ['nothing that this version knows'] : []
  whats.push(...change.objects.slice(0, wide ? Infinity : OBJECTS_SHOWN).map((object) => whatOf(object, wide)))
  const more = change.objects.length - whats.length
  if (more > 0) whats.push(`and ${more} more`)
  if (!change.valid) whats.push(`does not count: ${change.reason ?? 'no reason is known'}`)
  const signature = signatureOf(change)
  return whats.map((what, i) => [
    ...(i === 0 ? [change.at, whoOf(change, wide), change.id.slice(0, wide ? 64 : 12), signature] : ['', '', '', '']),
    change.valid ? what : { text: what, colour: 'dim' }
  ])
}

function signatureOf({ verified, pending }: ChangeJson): Cell {
  if (pending === true) return { text: 'to come', colour: 'yellow' }
  return verified ? { text: 'verified', colour: 'green' } : { text: 'WRONG', colour: 'red' }
}

/** `edge-a`, or `edge-a for token ci` where somebody with a token asked for it. */
function whoOf({ author, author_name, via }: ChangeJson, wide: boolean): string {
  const who = author_name ?? shortPeer(author)
  return via == null ? who : `${who} for ${wide ? via : via.replace(/^token \S+ /, 'token ')}`
}

const OBJECTS_SHOWN = 5

function whatOf({ kind, id, name, action, fields }: ChangedObjectJson, wide: boolean): string {
  const subject = `${kind} ${name ?? (kind === 'peer' ? shortPeer(id) : id)}`
  const verb = VERBS[action] ?? action
  const shown = Object.entries(fields).filter(
    ([field, { before }]) => wide || !(QUIET_FIELDS.has(field) || (field === 'name' && before === undefined))
  )
  // Of what is gone the name says enough, and of what is new the fields that hold something.
  const told = shown.filter(([, { before, after }]) => wide || (action !== 'deleted' && (before ?? after) !== null))
  const details = told.map(([field, { before, after }]) =>
    before === undefined
      ? `${field} ${valueText(after)}`
      : `${field} ${valueText(before)} → ${after === undefined ? 'nothing' : valueText(after)}`
  )
  const which = kind === 'service' && name != null && wide ? ` (${id})` : ''
  return `${subject}${which} ${verb}${details.length === 0 ? '' : `: ${details.join(', ')}`}`
}

const VERBS: Record<string, string> = {
  sent: 'was sent an event by hand',
  admit: 'admitted',
  revoke: 'revoked',
  role: 'given another role',
  leave: 'left',
  epoch: 'signed as it was',
  proof: 'convicted of signing two things as one, and revoked for it'
}

/** What changes with every change, or is long and says little. */
const QUIET_FIELDS = new Set(['created_at', 'updated_at', 'pegasus_key', 'tempest_key', 'keys_before', 'version'])

function valueText(value: FieldValue | undefined): string {
  if (value === null || value === undefined) return 'none'
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(' ')
  const text = String(value)
  return text.startsWith('12D3Koo') ? shortPeer(text) : text
}
