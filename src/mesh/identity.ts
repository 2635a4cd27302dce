import { createPrivateKey, createPublicKey } from 'node:crypto'
import { join } from 'node:path'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { signerFromSeed, type Signer } from '../crdt/signer.ts'
import { UnavailableError } from '../errors.ts'
import type { Random } from '../random.ts'
import { createIdentity, IDENTITY_VERSION, parseIdentity, readIdentity, type IdentityFile } from './identity-file.ts'

/** An X25519 key pair, raw 32 bytes each in base64. */
export interface KeyPair {
  publicKey: string
  privateKey: string
}

/** Who this peer is, for as long as its state directory lives. */
export interface Identity {
  readonly peerId: string
  /** The same key as `signer`'s, for libp2p. */
  readonly privateKey: PrivateKey
  readonly signer: Signer
  /** Noise static key of Pegasus and WireGuard key of Tempest, as they were when this was read: see `KeyRing`. */
  readonly pegasus: KeyPair
  readonly tempest: KeyPair
}

/**
 * Reads `<stateDir>/identity`, or makes it at the first start: written aside, synced, then linked into place, so that it
 * is whole or absent, and of two agents that start at once both get the same one.
 *
 * Throws InvalidRequestError when the file is open to others, of a newer format or damaged, UnavailableError when the
 * disk refuses; each says how to mend it.
 */
export async function openIdentity(stateDir: string, random: Random): Promise<Identity> {
  const path = join(stateDir, 'identity')
  const text = await readIdentity(path)
  if (text != null) return fromFile(parseIdentity(path, text))
  const aside = `${path}.${Buffer.from(random.bytes(6)).toString('hex')}.new`
  await createIdentity(stateDir, path, aside, {
    version: IDENTITY_VERSION,
    peer_seed: Buffer.from(random.bytes(32)).toString('base64'),
    pegasus_key: Buffer.from(random.bytes(32)).toString('base64'),
    tempest_key: Buffer.from(random.bytes(32)).toString('base64')
  })
  const made = await readIdentity(path)
  if (made == null) throw new UnavailableError(`${path} vanished while it was made; look for what cleans ${stateDir}`)
  return fromFile(parseIdentity(path, made))
}

function fromFile(content: IdentityFile): Identity {
  const seed = Buffer.from(content.peer_seed, 'base64')
  const signer = signerFromSeed(seed)
  // With its public half, which libp2p would otherwise derive in JavaScript, at a tenth of a second.
  const privateKey = privateKeyFromRaw(Buffer.concat([seed, signer.publicKey]))
  return {
    peerId: signer.peerId,
    privateKey,
    signer,
    pegasus: x25519(content.pegasus_key),
    tempest: x25519(content.tempest_key)
  }
}

/** DER of an X25519 private key (RFC 8410) up to the 32 raw bytes. */
const X25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** The key pair of a private key, raw 32 bytes in base64. */
export function x25519(privateKey: string): KeyPair {
  const raw = Buffer.from(privateKey, 'base64')
  const key = createPrivateKey({ key: Buffer.concat([X25519_PKCS8_PREFIX, raw]), format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return { publicKey: spki.subarray(-32).toString('base64'), privateKey }
}
