import type { Clock } from '../clock.ts'
import { batches } from './batches.ts'
import { MalformedError } from './bytes.ts'
import { parseEnvelope, signatureOf, verifyEnvelope, type Envelope } from './envelope.ts'
import { EquivocationError, flawOf } from './evidence.ts'
import { equivocationsMax, verifiedEnvelopesMax, verifyAsideMin } from './limits.ts'
import { openEnvelope, type Ledger, type Unheld } from './ledger.ts'
import type { Entry } from './entries.ts'
import { Pending } from './pending.ts'
import type { EnvelopeBytes } from './replicated.ts'
import type { Verifier } from './signer.ts'

/** Reads envelopes of others: what is in one follows from its bytes alone. Both throw MalformedError. */
export interface Reader {
  parse(bytes: EnvelopeBytes): Envelope
  /** What is inside, of one that {@link parse} has read. */
  open(envelope: Envelope): Unheld
}

export const ownReader: Reader = {
  parse: parseEnvelope,
  open: (envelope) => openEnvelope(envelope, { own: false })
}

/**
 * What comes from others, on its way into the ledger.
 *
 * 1. Held already: nothing to do.
 * 2. Size, form, hash, actor, sequence number, signature; then what is inside. What fails is refused and forgotten.
 * 3. Something before it is missing: it waits in memory.
 * 4. It is added, and after it whatever waited for it.
 */
export class Intake {
  readonly #ledger: Ledger
  readonly #pending = new Pending()
  /** Envelopes whose signature `check` has just verified, so that gossip costs one verification and not two. */
  readonly #verified = new Set<string>()
  readonly #verifier: Verifier | null
  readonly #reader: Reader
  /** Read, and verified by the verifier: what {@link take} does not do again. */
  readonly #signed = new WeakMap<EnvelopeBytes, Envelope>()
  /** Envelopes that contradict a held one of the same author, and the hash of that. Whoever reads them empties the list. */
  found: Array<{ hash: string; bytes: EnvelopeBytes }> = []

  /** `verifier`: where there is one, signatures are verified beside. */
  constructor(ledger: Ledger, verifier: Verifier | null = null, reader: Reader = ownReader) {
    this.#ledger = ledger
    this.#verifier = verifier
    this.#reader = reader
  }

  /** Hands over a batch after the other, to be taken; meanwhile the signatures of the next one are verified. */
  async inBatches(
    envelopes: EnvelopeBytes[],
    clock: Clock,
    take: (batch: EnvelopeBytes[]) => void | Promise<void>
  ): Promise<void> {
    const all = batches(envelopes)
    let verifying = this.#verifyAside(all[0])
    for (const [i, batch] of all.entries()) {
      if (i > 0) await clock.sleep(0)
      if (verifying != null) await verifying
      verifying = this.#verifyAside(all[i + 1])
      await take(batch)
    }
  }

  /** Steps 1 to 4 for one envelope. What was added is appended to `added`, in an order that can be stored. */
  take(bytes: EnvelopeBytes, added: Entry[]): 'accepted' | 'known' | 'waiting' | { refused: string } {
    try {
      const signed = this.#signed.get(bytes)
      const envelope = signed ?? this.#reader.parse(bytes)
      if (this.#ledger.get(envelope.hash) != null) return 'known'
      if (this.#pending.has(envelope.hash)) return 'waiting'
      if (signed == null && !this.#isSigned(envelope))
        return { refused: "its signature is not its author's for this cluster" }
      const item = this.#reader.open(envelope)
      if (item.auth?.operation === 'proof') {
        const flaw = flawOf(item.auth, this.#ledger.genesis.clusterId)
        if (flaw != null) return { refused: flaw }
      }
      const key = this.#ledger.waitsFor(item)
      if (key != null) {
        this.#pending.add(key, item)
        return 'waiting'
      }
      this.#add(this.#ledger.add(item), added)
      return 'accepted'
    } catch (error) {
      if (error instanceof EquivocationError && this.found.length < equivocationsMax) {
        this.found.push({ hash: error.held.hash, bytes })
      }
      if (error instanceof MalformedError) return { refused: error.message }
      throw error
    }
  }

  /** See `Replicated.check`. */
  check(bytes: EnvelopeBytes): 'accept' | 'ignore' | 'reject' {
    try {
      const envelope = this.#reader.parse(bytes)
      // Somebody of another cluster, or whose admission has not come yet: no reason to blame who handed it on.
      if (!this.#ledger.isNamed(envelope.authorId)) return 'ignore'
      return this.#isSigned(envelope) ? 'accept' : 'reject'
    } catch (error) {
      if (error instanceof MalformedError) return 'reject'
      throw error
    }
  }

  /** Forgets what waits. */
  clear(): void {
    this.#pending.clear()
  }

  /** What waited for an entry that was made here. */
  release(entry: Entry, added: Entry[]): void {
    const keys = this.#ledger.provides(entry)
    for (let key = keys.pop(); key != null; key = keys.pop()) {
      for (const item of this.#pending.take(key)) {
        let next: string | null
        try {
          next = this.#ledger.waitsFor(item)
        } catch (error) {
          if (error instanceof MalformedError) continue
          throw error
        }
        if (next != null) {
          this.#pending.add(next, item)
          continue
        }
        const held = this.#ledger.add(item)
        added.push(held)
        keys.push(...this.#ledger.provides(held))
      }
    }
  }

  #add(entry: Entry, added: Entry[]): void {
    added.push(entry)
    this.release(entry, added)
    // From now on both stand side by side everywhere; whoever built on either is understood.
    if (entry.auth?.operation === 'proof') for (const bytes of entry.auth.envelopes) this.take(bytes, added)
  }

  /** null when there is nothing to wait for. What is not good is left to {@link take}, which says so. */
  #verifyAside(batch: EnvelopeBytes[] = []): Promise<unknown> | null {
    const verifier = this.#verifier
    if (verifier == null || batch.length < verifyAsideMin) return null
    const { clusterId } = this.#ledger.genesis
    const verifyOne = async (bytes: EnvelopeBytes): Promise<void> => {
      const envelope = envelopeOf(bytes)
      if (envelope == null || this.#ledger.get(envelope.hash) != null) return
      if (await verifier(...signatureOf(envelope, clusterId))) this.#signed.set(bytes, envelope)
    }
    return Promise.all(batch.map(verifyOne))
  }

  #isSigned(envelope: Envelope): boolean {
    // All that the signature covers, and the signature.
    const name = Buffer.from(envelope.bytes.buffer, envelope.bytes.byteOffset, 150).toString('latin1')
    if (this.#verified.delete(name)) return true
    if (!verifyEnvelope(envelope, this.#ledger.genesis.clusterId)) return false
    this.#verified.add(name)
    if (this.#verified.size > verifiedEnvelopesMax) this.#verified.delete(this.#verified.values().next().value ?? '')
    return true
  }
}

function envelopeOf(bytes: EnvelopeBytes): Envelope | null {
  try {
    return parseEnvelope(bytes)
  } catch (error) {
    if (error instanceof MalformedError) return null
    throw error
  }
}
