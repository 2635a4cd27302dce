import { deepEqual, throws } from 'node:assert/strict'
import { defaultCrypto } from '@libp2p/noise/crypto'
import { noiseCrypto } from '../../src/mesh/libp2p/noise-crypto.ts'

describe('the cryptography of handshakes', () => {
  const bytes = (value: { subarray(): Uint8Array }): string => Buffer.from(value.subarray()).toString('hex')
  /** As bytes come from the wire: all that is asked of a list. */
  const list = (data: Uint8Array): Uint8Array => ({ subarray: () => data }) as unknown as Uint8Array

  it('agrees with noise’s own on the same keys, whoever begins', () => {
    for (let i = 0; i < 20; i++) {
      const [ours, theirs] = [noiseCrypto.generateX25519KeyPair(), defaultCrypto.generateX25519KeyPair()]
      const here = noiseCrypto.generateX25519SharedKey(ours.privateKey, theirs.publicKey)
      const there = defaultCrypto.generateX25519SharedKey(theirs.privateKey, ours.publicKey)
      deepEqual(bytes(here), bytes(there))
      // The same key again, as a handshake does, and a list, as it comes from the wire.
      deepEqual(bytes(noiseCrypto.generateX25519SharedKey(ours.privateKey, theirs.publicKey)), bytes(there))
      deepEqual(bytes(noiseCrypto.generateX25519SharedKey(ours.privateKey, list(theirs.publicKey))), bytes(there))
    }
  })

  it('takes keys that came as bytes, and hashes as noise does', () => {
    const seed = new Uint8Array(32).fill(7)
    const [one, other] = [noiseCrypto.generateX25519KeyPairFromSeed(seed), noiseCrypto.generateX25519KeyPair()]
    const [a, b] = [
      noiseCrypto.generateX25519SharedKey(one.privateKey, other.publicKey),
      noiseCrypto.generateX25519SharedKey(other.privateKey, one.publicKey)
    ]
    deepEqual(bytes(a), bytes(b))
    for (const data of [seed, list(seed)]) {
      deepEqual(bytes(noiseCrypto.hashSHA256(data)), bytes(defaultCrypto.hashSHA256(seed)))
    }
  })

  it('derives the keys that noise does, also from nothing as at the end of a handshake', () => {
    for (const ikm of [new Uint8Array(32).fill(3), new Uint8Array(0)]) {
      const ck = new Uint8Array(32).fill(5)
      deepEqual(noiseCrypto.getHKDF(ck, ikm).map(bytes), defaultCrypto.getHKDF(ck, ikm).map(bytes))
    }
  })

  it('refuses points that give everybody the same secret, and keys that are none', () => {
    const { privateKey } = noiseCrypto.generateX25519KeyPair()
    throws(() => noiseCrypto.generateX25519SharedKey(privateKey, new Uint8Array(32)))
    throws(() => noiseCrypto.generateX25519SharedKey(privateKey, new Uint8Array(31).fill(9)))
  })
})
