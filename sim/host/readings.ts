import { parseEnvelope, type Envelope } from '../../src/crdt/envelope.ts'
import { ownReader, type Reader } from '../../src/crdt/intake.ts'
import type { Unheld } from '../../src/crdt/ledger.ts'
import { readingsKept } from '../limits.ts'
import { Generations, textOf } from './generations.ts'

/**
 * All hosts of a world are one process, and each of them reads what each of them has written: the same bytes a thousand
 * times. What is in an envelope follows from its bytes alone, so within one world what was read of exactly these is not
 * read again, and is held once. Each host still decides for itself what to do with it; what is malformed is read each time.
 */
export function sharedReader(): Reader {
  const read = new Generations<Envelope>(readingsKept)
  const opened = new WeakMap<Envelope, Unheld>()
  return {
    parse(bytes) {
      const text = textOf(bytes)
      const known = read.get(text)
      if (known != null) return known
      const envelope = parseEnvelope(bytes.slice())
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
