import { createPrivateKey, createPublicKey, sign as edSign, verify as edVerify, type KeyObject } from 'node:crypto'
import { fromString, toString } from 'uint8arrays'
import { concat } from './bytes.ts'
import { verifyKeysMax } from './limits.ts'
import type { PeerId } from './schema.ts'

/** What signs for a peer. The private key stays behind it. */
export interface Signer {
  readonly peerId: PeerId
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Ed25519 signature, 64 bytes. */
  sign(data: Uint8Array): Uint8Array
}

/** A signer of a raw Ed25519 seed (RFC 8032 private key, 32 bytes). */
export function signerFromSeed(seed: Uint8Array): Signer {
  if (seed.length !== 32) throw new RangeError(`an Ed25519 seed has 32 bytes, not ${seed.length}`)
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  const publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length))
  return { peerId: peerIdOf(publicKey), publicKey, sign: (data) => edSign(null, data, key) }
}

/**
 * The libp2p peer id of an Ed25519 key: base58btc of the identity multihash of its protobuf encoding.
 * Source: libp2p specs, peer-ids/peer-ids.md.
 */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return known(publicKey).id
}

/** The raw public key in a peer id; null when the text is not the id of an Ed25519 key. */
export function publicKeyOf(peerId: PeerId): Uint8Array | null {
  const held = keyOfId.get(peerId)
  if (held != null) return held
  if (!/^12D3Koo[1-9A-HJ-NP-Za-km-z]{45}$/.test(peerId)) return null
  const bytes = fromString(peerId, 'base58btc')
  if (bytes.length !== PEER_ID_PREFIX.length + 32 || PEER_ID_PREFIX.some((byte, i) => bytes[i] !== byte)) return null
  const key = bytes.subarray(PEER_ID_PREFIX.length)
  remember(keyOfId, peerId, key)
  return key
}

/** Checks an Ed25519 signature. False for anything malformed, never a throw. */
export function verify(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  try {
    return edVerify(null, data, known(publicKey).key(), signature)
  } catch {
    return false
  }
}

/** As {@link verify}, on another thread. */
export type Verifier = (publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array) => Promise<boolean>

/** By libuv's pool, so that several cores share the work. */
export function verifyAside(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return Promise.resolve(false)
  return new Promise((resolve) => {
    try {
      edVerify(null, data, known(publicKey).key(), signature, (error, isSigned) => resolve(error == null && isSigned))
    } catch {
      resolve(false)
    }
  })
}

// Importing a key costs more than verifying with it, and base58 as much, so both are kept.
const keyOfId = new Map<PeerId, Uint8Array>()
const keys = new Map<string, { id: PeerId; key: () => KeyObject }>()

function known(publicKey: Uint8Array): { id: PeerId; key: () => KeyObject } {
  const name = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength).toString('latin1')
  const held = keys.get(name)
  if (held != null) return held
  if (publicKey.length !== 32) throw new RangeError(`an Ed25519 key has 32 bytes, not ${publicKey.length}`)
  const raw = new Uint8Array(publicKey)
  let imported: KeyObject | null = null
  const item = {
    id: toString(concat([PEER_ID_PREFIX, raw]), 'base58btc'),
    key: () => (imported ??= createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' }))
  }
  remember(keys, name, item)
  return item
}

/** The oldest leaves when the cache is full. */
function remember<T>(cache: Map<string, T>, name: string, value: T): void {
  if (cache.size >= verifyKeysMax) cache.delete(cache.keys().next().value ?? '')
  cache.set(name, value)
}

/** DER of an Ed25519 key (RFC 8410) up to the 32 raw bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
/** Identity multihash (0x00) of 36 bytes (0x24): protobuf field 1 = Ed25519 (1), field 2 = 32 bytes. */
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)
