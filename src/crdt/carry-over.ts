import { copyOf, MalformedError } from './bytes.ts'
import { parseEnvelope } from './envelope.ts'
import { openEnvelope, type Ledger } from './ledger.ts'
import type { Entry } from './entries.ts'
import type { EnvelopeBytes } from './replicated.ts'

export interface CarriedOver {
  /** As they stand in the ledger that they were carried to, and their envelopes. */
  taken: Entry[]
  bytes: EnvelopeBytes[]
  /** As they stood, those that build on what is not there. */
  left: Entry[]
}

/** Adds entries of another ledger, which were verified for it, to this one. */
export function carryOver(
  to: Ledger,
  entries: readonly Entry[],
  bytesOf: (entry: Entry) => EnvelopeBytes
): CarriedOver {
  const carried: CarriedOver = { taken: [], bytes: [], left: [] }
  for (const entry of entries) {
    const bytes = bytesOf(entry)
    const item = openEnvelope(parseEnvelope(copyOf(bytes)), { own: true })
    if (fits(to, item)) {
      carried.taken.push(to.add(item))
      carried.bytes.push(bytes)
    } else carried.left.push(entry)
  }
  return carried
}

function fits(ledger: Ledger, item: Parameters<Ledger['waitsFor']>[0]): boolean {
  try {
    return ledger.waitsFor(item) == null
  } catch (error) {
    if (error instanceof MalformedError) return false
    throw error
  }
}
