/** Changes one after the other in one piece of memory: many small ones leave holes that nothing else fits into. */
export interface PackedChanges {
  bytes: Uint8Array<ArrayBuffer>
  /** Of each, in their order. */
  lengths: Uint32Array<ArrayBuffer>
}

/** `sizeMax`: bytes that all of them have at most. */
export function packed(changes: Iterable<Uint8Array>, count: number, sizeMax: number): PackedChanges {
  const bytes = new Uint8Array(sizeMax)
  const lengths = new Uint32Array(count)
  let [at, i] = [0, 0]
  for (const change of changes) {
    bytes.set(change, at)
    at += lengths[i++] = change.length
  }
  return { bytes, lengths }
}

/** Views of them. */
export function* unpacked({ bytes, lengths }: PackedChanges): Generator<Uint8Array> {
  let at = 0
  for (const length of lengths) yield bytes.subarray(at, (at += length))
}
