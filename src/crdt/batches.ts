import { verifyBatchBytesMax, verifyBatchMax } from './limits.ts'
import type { EnvelopeBytes } from './replicated.ts'

/** Parts that are verified, folded and stored in one go. */
export function batches(envelopes: EnvelopeBytes[]): EnvelopeBytes[][] {
  const found: EnvelopeBytes[][] = []
  let size = Infinity
  for (const bytes of envelopes) {
    const last = found.at(-1)
    if (last == null || last.length >= verifyBatchMax || size + bytes.length > verifyBatchBytesMax) {
      found.push([bytes])
      size = bytes.length
    } else {
      last.push(bytes)
      size += bytes.length
    }
  }
  return found
}

/** Arrays of so many, the last one of what is left. */
export function* inBatches<T>(all: Iterable<T>, size: number): Generator<T[]> {
  let batch: T[] = []
  for (const one of all) {
    batch.push(one)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
