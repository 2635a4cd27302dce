import { MalformedError } from './bytes.ts'
import { parseEnvelope, verifyEnvelope, type Envelope } from './envelope.ts'
import { EquivocationError, flawOf } from './evidence.ts'
import { equivocationsMax, verifiedEnvelopesMax } from './limits.ts'
import { openEnvelope, type Entry, type Ledger } from './ledger.ts'
import { Pending } from './pending.ts'
import type { EnvelopeBytes } from './replicated.ts'

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
  /** Envelopes that contradict a held one of the same author. Whoever reads them empties the list. */
  found: Array<{ held: Entry; bytes: EnvelopeBytes }> = []

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Steps 1 to 4 for one envelope. What was added is appended to `added`, in an order that can be stored. */
  take(bytes: EnvelopeBytes, added: Entry[]): 'accepted' | 'known' | 'waiting' | { refused: string } {
    try {
      const envelope = parseEnvelope(bytes)
      if (this.#ledger.get(envelope.hash) != null) return 'known'
      if (this.#pending.has(envelope.hash)) return 'waiting'
      if (!this.#isSigned(envelope)) return { refused: "its signature is not its author's for this cluster" }
      const item = openEnvelope(envelope, { own: false })
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
        this.found.push({ held: error.held, bytes })
      }
      if (error instanceof MalformedError) return { refused: error.message }
      throw error
    }
  }

  /** See `Replicated.check`. */
  check(bytes: EnvelopeBytes): 'accept' | 'ignore' | 'reject' {
    try {
      const envelope = parseEnvelope(bytes)
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
