import { createHash } from 'node:crypto'
import { ByteReader, concat, MalformedError, text, u32, u53, u8 } from './bytes.ts'
import { parseChunk } from './chunk.ts'
import { TIME_MAX } from './envelope.ts'
import type { PeerId } from './schema.ts'
import { peerIdOf, verify, type Signer } from './signer.ts'

/**
 * Where a cluster begins: one signed record that all its peers start from. It holds the Automerge change that makes the
 * root maps (made concurrently by two peers they would hide each other), and the cluster id is its hash, so whoever
 * knows the id cannot be given another beginning.
 *
 *   version u8 = 1 | name text | founder 32 | created-at ms u64 | nonce 16 | change length u32 | change | signature 64
 */
export interface Genesis {
  /** 26 characters of Crockford's base32: 130 bits of the hash of all but the signature. */
  clusterId: string
  name: string
  founder: PeerId
  /** Wall-clock ms. */
  createdAt: number
  chunk: Uint8Array
  bytes: Uint8Array
}

const VERSION = 1
const TAG = 'arctic-genesis-v1\0'
/** The actor of the first change. Nobody's key, so nobody can write under it. */
export const GENESIS_ACTOR = '00'.repeat(36)

export function createGenesis(
  signer: Signer,
  input: { name: string; createdAt: number; nonce: Uint8Array; chunk: Uint8Array }
): Genesis {
  const head = [u8(VERSION), text(input.name), signer.publicKey, u53(input.createdAt), input.nonce]
  const unsigned = concat([...head, u32(input.chunk.length), input.chunk])
  return parseGenesis(concat([unsigned, signer.sign(concat([Buffer.from(TAG), unsigned]))]))
}

/** Reads and verifies. Throws MalformedError, whose message completes "the genesis is not good: …". */
export function parseGenesis(bytes: Uint8Array): Genesis {
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (version !== VERSION) throw new MalformedError(`its format is version ${version}, this agent knows ${VERSION}`)
  const name = reader.text()
  const founder = reader.take(32)
  const createdAt = reader.u53()
  if (createdAt > TIME_MAX) throw new MalformedError('its time is out of range')
  reader.take(16)
  const chunk = reader.take(reader.u32())
  const unsigned = bytes.subarray(0, reader.offset)
  const signature = reader.take(64)
  reader.end()
  if (!verify(founder, concat([Buffer.from(TAG), unsigned]), signature)) {
    throw new MalformedError('its signature is wrong')
  }
  const { actor, seq, deps } = parseChunk(chunk)
  if (actor !== GENESIS_ACTOR || seq !== 1 || deps.length > 0) {
    throw new MalformedError('the change inside is not a first one')
  }
  return { clusterId: clusterIdOf(unsigned), name, founder: peerIdOf(founder), createdAt, chunk, bytes }
}

function clusterIdOf(unsigned: Uint8Array): string {
  const digest = createHash('sha256').update('arctic-cluster-v1\0').update(unsigned).digest()
  let bits = 0n
  for (const byte of digest.subarray(0, 17)) bits = (bits << 8n) | BigInt(byte)
  bits >>= 6n
  let id = ''
  for (let i = 0; i < 26; i++) {
    id = BASE32.charAt(Number(bits & 31n)) + id
    bits >>= 5n
  }
  return id
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
