import { parseAuthEntry, type AuthEntry } from './authlog.ts'
import { MalformedError } from './bytes.ts'
import { parseEnvelope, verifyEnvelope, type Envelope } from './envelope.ts'
import type { Entry } from './entries.ts'

/**
 * Two envelopes of one author that cannot both be honest: one actor's sequence number for two contents, or two entries
 * of the auth log that both say to follow the same one. An honest agent signs neither, not even after a crash, since
 * each start of it writes as an actor of its own; a copied state directory does.
 */
export class EquivocationError extends MalformedError {
  /** What was held before. */
  readonly held: Entry

  constructor(held: Entry, what: string) {
    super(what)
    this.held = held
  }
}

/** Why the two envelopes in a proof do not convict its peer; null when they do. */
export function flawOf(proof: Extract<AuthEntry, { operation: 'proof' }>, clusterId: string): string | null {
  const [one, two] = proof.envelopes.map((bytes) => parseEnvelope(bytes)) as [Envelope, Envelope]
  if (one.authorId !== proof.peer || two.authorId !== proof.peer) return 'its evidence is of another peer'
  if (one.hash === two.hash) return 'its evidence is one envelope twice'
  if (!verifyEnvelope(one, clusterId) || !verifyEnvelope(two, clusterId)) return 'its evidence is not signed'
  if (one.actor === two.actor && one.seq === two.seq) return null
  const isFork = one.kind === 'auth' && two.kind === 'auth' && previousOf(one) === previousOf(two)
  return isFork ? null : 'its evidence shows two envelopes that go together'
}

/** Per actor, the first number from which on nothing of it can be told apart. */
export function provenFrom(proof: Extract<AuthEntry, { operation: 'proof' }>): Map<string, number> {
  const from = new Map<string, number>()
  for (const bytes of proof.envelopes) {
    const { actor, seq } = parseEnvelope(bytes)
    from.set(actor, Math.min(seq, from.get(actor) ?? seq))
  }
  return from
}

const previousOf = (envelope: Envelope): string => parseAuthEntry(envelope).previous
