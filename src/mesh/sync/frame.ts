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
  // In one piece: a thousand members have some thousand actors, and each piece that is handed over costs as much as this.
  let text = `arctic-vector-v1\0${cluster}\0`
  for (const actor of Object.keys(vector).toSorted()) text += `${actor}:${vector[actor]}\n`
  const digest = createHash('sha256').update(text).digest()
  digests.set(vector, { cluster, digest })
  return digest
}

function parseVector(content: Buffer): VersionVector {
  const text = content.toString('latin1')
  // Read as one piece, and looked at before: a thousand members have some thousand actors, in each vector.
  if (!isVector(text)) throw malformed('a vector is JSON that maps actors to sequence numbers')
  return JSON.parse(text) as VersionVector
}

/** One actor as `JSON.stringify` writes it. */
const ACTOR = /"[0-9a-f]{1,128}":(0|[1-9]\d{0,15})(?:,(?=")|(?=\}$))/y

function isVector(text: string): boolean {
  if (text === '{}') return true
  if (!text.startsWith('{') || !text.endsWith('}')) return false
  let at = 1
  while (at < text.length - 1) {
    ACTOR.lastIndex = at
    const seq = ACTOR.exec(text)?.[1]
    if (seq == null || !Number.isSafeInteger(Number(seq))) return false
    at = ACTOR.lastIndex
  }
  return at === text.length - 1 && at > 1
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
