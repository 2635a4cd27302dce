import { parseAuthEntry, type AuthEntry } from '../../src/crdt/authlog.ts'
import { parseEnvelope, type Envelope } from '../../src/crdt/envelope.ts'
import type { EnvelopeBytes } from '../../src/crdt/replicated.ts'
import type { PeerId } from '../../src/crdt/schema.ts'

export interface Verdicts {
  out: ReadonlySet<PeerId>
  in: ReadonlySet<PeerId>
}

interface Open {
  envelope: Envelope
  entry: AuthEntry
  /** Whether it counts; null as long as that is not known. */
  counts: boolean | null
}

/**
 * Of whom it is certain that they are thrown out for good, and of whom that they are members, from the signed entries and
 * nothing of the product's judgement. An entry counts once all that would cut it off is void and its author's admission
 * counts; it is void once something that counts cuts it off, or its author's admissions are void. Admins that cut each
 * other off in a circle are left open, for of them only the product says who prevails; so is whatever follows from that.
 * Roles are as they were given: nobody changes one in a simulation.
 */
export function verdictsOf(founder: PeerId, log: readonly EnvelopeBytes[]): Verdicts {
  const all = log
    .map((bytes) => parseEnvelope(bytes))
    .map((envelope): Open => ({ envelope, entry: parseAuthEntry(envelope), counts: null }))
    .filter(({ entry }) => ['admit', 'revoke', 'leave', 'proof'].includes(entry.operation))
  const about = Map.groupBy(all, ({ entry }) => entry.peer)
  const admissionsOf = (peer: PeerId): Open[] =>
    (about.get(peer) ?? []).filter(({ entry }) => entry.operation === 'admit')
  const cutsOf = (peer: PeerId): Open[] => (about.get(peer) ?? []).filter(({ entry }) => 'cut' in entry)

  for (let moved = true; moved;) {
    moved = false
    for (const open of all) {
      if (open.counts != null) continue
      open.counts = judge(open, founder, admissionsOf, cutsOf)
      moved ||= open.counts != null
    }
  }

  const verdicts = { out: new Set<PeerId>(), in: new Set<PeerId>() }
  for (const peer of new Set([founder, ...about.keys()])) {
    const cuts = cutsOf(peer)
    const isForGood = ({ entry }: Open): boolean => entry.operation !== 'leave'
    if (cuts.some((cut) => cut.counts === true && isForGood(cut))) verdicts.out.add(peer)
    const letIn = peer === founder || admissionsOf(peer).some(({ counts }) => counts === true)
    if (letIn && cuts.every(({ counts }) => counts === false)) verdicts.in.add(peer)
  }
  return verdicts
}

function judge(
  { envelope, entry }: Open,
  founder: PeerId,
  admissionsOf: (peer: PeerId) => Open[],
  cutsOf: (peer: PeerId) => Open[]
): boolean | null {
  // Two signatures prove themselves, whoever hands them in.
  if (entry.operation === 'proof') return true
  const { authorId, actor, seq } = envelope
  const against = cutsOf(authorId).filter(
    (cut) => cut.envelope !== envelope && 'cut' in cut.entry && seq > (cut.entry.cut.get(actor) ?? 0)
  )
  if (against.some(({ counts }) => counts === true)) return false
  const admissions = admissionsOf(authorId)
  const grants = admissions.filter(
    ({ entry: one }) => one.operation === 'admit' && (one.role === 'admin' || entry.operation === 'leave')
  )
  if (authorId !== founder && grants.every(({ counts }) => counts === false)) return false
  // An invite that was used up refuses somebody; whom, is the product's order.
  if (entry.operation === 'admit' && admissionsOf(entry.peer).length > 1) return null
  const mayWrite = authorId === founder || grants.some(({ counts }) => counts === true)
  return mayWrite && against.every(({ counts }) => counts === false) ? true : null
}
