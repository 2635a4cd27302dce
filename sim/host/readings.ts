import { parseEnvelope, type Envelope } from '../../src/crdt/envelope.ts'
import { ownReader, type Reader } from '../../src/crdt/intake.ts'
import type { Unheld } from '../../src/crdt/ledger.ts'
import { readingsKept } from '../limits.ts'

/**
 * All hosts of a world are one process, and each of them reads what each of them has written: the same bytes a thousand
 * times. What is in an envelope follows from its bytes alone, so within one world what was read of exactly these is not
 * read again, and is held once. Each host still decides for itself what to do with it; what is malformed is read each time.
 */
export function sharedReader(): Reader {
  /** Two generations: what is in neither is read. */
  let read = new Map<string, Envelope>()
  let older = new Map<string, Envelope>()
  const opened = new WeakMap<Envelope, Unheld>()
  return {
    parse(bytes) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
      const known = read.get(text) ?? older.get(text)
      if (known != null) return known
      const envelope = parseEnvelope(bytes.slice())
      if (read.size >= readingsKept) [older, read] = [read, new Map()]
      read.set(text, envelope)
      return envelope
    },
    open(envelope) {
      let item = opened.get(envelope)
      if (item == null) opened.set(envelope, (item = ownReader.open(envelope)))
      return item
    }
  }
}
