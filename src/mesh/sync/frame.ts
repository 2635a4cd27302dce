import { createHash } from 'node:crypto'
import type { EnvelopeBytes, VersionVector } from '../../crdt/replicated.ts'
import { InvalidRequestError } from '../../errors.ts'

/**
 * Messages of sync and of the history in a join: one type byte, then its content.
 *
 *   D digest 32 B     "this is what I hold"          S           "I hold the same"
 *   V vector JSON     "this is what I hold, named"   B batch     envelopes, each with its length, u32 big endian
 *   A size u32        "a batch of this size is on disk here"     E           "that was all"
 *   K                 "all of yours is on disk here"             R           "too busy, come back later"
 */
export type Frame =
  | { type: 'digest'; digest: Uint8Array }
  | { type: 'same' }
  | { type: 'vector'; vector: VersionVector }
  | { type: 'batch'; envelopes: EnvelopeBytes[]; size: number }
  | { type: 'ack'; size: number }
  | { type: 'end' }
  | { type: 'done' }
  | { type: 'busy' }

const TYPES = {
  D: 'digest',
  S: 'same',
  V: 'vector',
  B: 'batch',
  A: 'ack',
  E: 'end',
  K: 'done',
  R: 'busy'
} as const satisfies Record<string, Frame['type']>

const typed = (type: keyof typeof TYPES, content: Uint8Array = new Uint8Array()): Uint8Array =>
  Buffer.concat([Buffer.from(type), content])

export const frames = {
  digest: (digest: Uint8Array) => typed('D', digest),
  same: () => typed('S'),
  vector: (vector: VersionVector) => typed('V', Buffer.from(JSON.stringify(vector))),
  batch: (envelopes: EnvelopeBytes[]) =>
    typed(
      'B',
      Buffer.concat(
        envelopes.flatMap((envelope) => {
          const length = Buffer.alloc(4)
          length.writeUInt32BE(envelope.byteLength)
          return [length, envelope]
        })
      )
    ),
  ack: (size: number) => {
    const content = Buffer.alloc(4)
    content.writeUInt32BE(size)
    return typed('A', content)
  },
  end: () => typed('E'),
  done: () => typed('K'),
  busy: () => typed('R')
}

/** InvalidRequestError for anything that is no frame. */
export function parseFrame(message: Uint8Array): Frame {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  const type = TYPES[bytes.toString('latin1', 0, 1) as keyof typeof TYPES]
  const content = bytes.subarray(1)
  switch (type) {
    case 'digest':
      if (content.length !== 32) throw malformed('a digest has 32 bytes')
      return { type, digest: content }
    case 'vector':
      return { type, vector: parseVector(content) }
    case 'batch':
      return { type, envelopes: [...split(content)], size: message.byteLength }
    case 'ack':
      if (content.length !== 4) throw malformed('an acknowledgement has 4 bytes')
      return { type, size: content.readUInt32BE() }
    case 'same':
    case 'end':
    case 'done':
    case 'busy':
      return { type }
    default:
      throw malformed('its type is unknown')
  }
}

/** Digests of vectors, which are the same object as long as they say the same: most syncs find nothing new. */
const digests = new WeakMap<VersionVector, { cluster: string; digest: Uint8Array }>()

/** Equal for equal vectors of one cluster, whatever the order of their keys. A vector must not be changed after. */
export function vectorDigest(cluster: string, vector: VersionVector): Uint8Array {
  const known = digests.get(vector)
  if (known?.cluster === cluster) return known.digest
  const hash = createHash('sha256').update(`arctic-vector-v1\0${cluster}\0`)
  for (const actor of Object.keys(vector).toSorted()) hash.update(`${actor}:${vector[actor]}\n`)
  const digest = hash.digest()
  digests.set(vector, { cluster, digest })
  return digest
}

function parseVector(content: Buffer): VersionVector {
  let parsed: unknown
  try {
    parsed = JSON.parse(content.toString())
  } catch {
    throw malformed('a vector is JSON')
  }
  if (parsed == null || typeof parsed !== 'object' || Array.isArray(parsed)) throw malformed('a vector is an object')
  const vector: VersionVector = Object.create(null) as VersionVector
  for (const [actor, seq] of Object.entries(parsed)) {
    if (!/^[0-9a-f]{1,128}$/.test(actor) || !Number.isSafeInteger(seq) || seq < 0) {
      throw malformed('a vector maps actors to sequence numbers')
    }
    vector[actor] = seq as number
  }
  return vector
}

function* split(content: Buffer): Iterable<EnvelopeBytes> {
  let offset = 0
  while (offset < content.length) {
    if (offset + 4 > content.length) throw malformed('a batch is cut short')
    const end = offset + 4 + content.readUInt32BE(offset)
    if (end > content.length) throw malformed('a batch is cut short')
    yield content.subarray(offset + 4, end)
    offset = end
  }
}

const malformed = (why: string): InvalidRequestError =>
  new InvalidRequestError(
    `a peer sent a message that is not of the sync protocol: ${why}; compare both agents' versions`
  )
