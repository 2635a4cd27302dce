import { createHash } from 'node:crypto'
import { inflateRawSync } from 'node:zlib'
import { ByteReader, concat, equalBytes, hex, MalformedError, uleb } from './bytes.ts'
import { changeDepsMax, envelopeBytesMax } from './limits.ts'

/**
 * The head of an Automerge change, read without Automerge, because Automerge applies corrupted changes without a word.
 * Format: magic, checksum (4 bytes of the hash), type, length, data; the hash covers type, length and data.
 * Source: automerge.org/automerge-binary-format-spec.
 */
export interface Chunk {
  /** SHA-256, 32 bytes: the change's hash and its checksum, recomputed and equal. */
  hash: Uint8Array
  /** Hex hashes of the changes before it. */
  deps: string[]
  /** Hex actor id. */
  actor: string
  seq: number
}

const MAGIC = Uint8Array.of(0x85, 0x6f, 0x4a, 0x83)
const CHANGE = 1
const COMPRESSED_CHANGE = 2

/** Throws MalformedError for all that is not one whole uncompressed change with the right checksum. */
export function parseChunk(bytes: Uint8Array): Chunk {
  const reader = new ByteReader(bytes)
  if (!equalBytes(reader.take(4), MAGIC)) throw new MalformedError('it is no Automerge change')
  const checksum = reader.take(4)
  const type = reader.u8()
  // One change must have one form on the wire, or the same hash could come in two sizes.
  if (type === COMPRESSED_CHANGE) throw new MalformedError('the change is compressed')
  if (type !== CHANGE) throw new MalformedError('it is no Automerge change')
  if (reader.uleb() !== reader.left) throw new MalformedError('its length is wrong')
  const hash = createHash('sha256').update(bytes.subarray(8)).digest()
  if (!equalBytes(hash.subarray(0, 4), checksum)) throw new MalformedError('its checksum is wrong')
  const deps = readDeps(reader)
  const actor = hex(reader.take(reader.uleb()))
  return { hash, deps, actor, seq: reader.uleb() }
}

/** Hex hashes of the changes before one that {@link parseChunk} has read. */
export function depsOf(chunk: Uint8Array): string[] {
  const reader = new ByteReader(chunk)
  reader.take(9)
  reader.uleb()
  return readDeps(reader)
}

function readDeps(reader: ByteReader): string[] {
  const count = reader.uleb()
  if (count > changeDepsMax) throw new MalformedError('it names too many predecessors')
  return Array.from({ length: count }, () => hex(reader.take(32)))
}

/** The uncompressed form of a change that Automerge made here: it deflates long ones. */
export function plainChunk(bytes: Uint8Array): Uint8Array {
  if (bytes[8] !== COMPRESSED_CHANGE) return bytes
  const reader = new ByteReader(bytes)
  reader.take(9)
  const data = inflateRawSync(reader.take(reader.uleb()), { maxOutputLength: envelopeBytesMax })
  return concat([bytes.subarray(0, 8), Uint8Array.of(CHANGE), uleb(data.length), data])
}
