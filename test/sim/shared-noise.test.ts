import assert from 'node:assert/strict'
import { defaultCrypto } from '@libp2p/noise/crypto'
import { describe, it } from 'mocha'
import { Uint8ArrayList } from 'uint8arraylist'
import { sharedNoise } from '../../sim/net/libp2p/shared-noise.ts'
import { noiseCrypto } from '../../src/mesh/libp2p/noise-crypto.ts'

const none = new Uint8Array(0)
const flipped = (bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(bytes.map((byte, i) => (i === at ? byte ^ 1 : byte)))

describe('sim: the cryptography of connections whose ends are in one process', () => {
  const key = new Uint8Array(32).fill(7)
  const nonce = new Uint8Array(12).fill(3)
  const text = Buffer.from('what one end says')

  it('agrees on the secret that noise agrees on, at both ends, however often', () => {
    const crypto = sharedNoise()
    const [a, b] = [crypto.generateX25519KeyPair(), crypto.generateX25519KeyPair()]
    const outside = defaultCrypto.generateX25519KeyPair()
    for (let i = 0; i < 3; i++) {
      const there = Buffer.from(crypto.generateX25519SharedKey(a.privateKey, b.publicKey))
      const here = crypto.generateX25519SharedKey(b.privateKey, new Uint8ArrayList(a.publicKey.subarray()))
      assert.deepEqual(Buffer.from(here), there)
      assert.deepEqual(there, Buffer.from(noiseCrypto.generateX25519SharedKey(a.privateKey, b.publicKey)))
    }
    const [here, there] = [
      crypto.generateX25519SharedKey(a.privateKey, outside.publicKey),
      defaultCrypto.generateX25519SharedKey(outside.privateKey, a.publicKey)
    ]
    assert.deepEqual(Buffer.from(here), Buffer.from(there))
  })

  it('derives the keys that noise derives, at both ends, and others from anything else', () => {
    const crypto = sharedNoise()
    const [ck, ikm] = [Buffer.alloc(32, 'chaining'), Buffer.alloc(32, 'secret')]
    const cases: Array<[Uint8Array, Uint8Array]> = [
      [ck, ikm],
      [ck, none],
      ...Array.from(ck.keys(), (at): [Uint8Array, Uint8Array] => [flipped(ck, at), ikm]),
      ...Array.from(ikm.keys(), (at): [Uint8Array, Uint8Array] => [ck, flipped(ikm, at)]),
      // The words that they are found by are the same.
      [flipped(ck, 0), flipped(ikm, 0)]
    ]
    for (const [one, other] of [...cases, ...cases.toReversed()]) {
      for (let end = 0; end < 2; end++) {
        const expected = noiseCrypto.getHKDF(one, other).map((key) => Buffer.from(key))
        assert.deepEqual(
          crypto.getHKDF(new Uint8Array(one), new Uint8Array(other)).map((key) => Buffer.from(key)),
          expected
        )
      }
      crypto.getHKDF(one, other)
    }
  })

  it('seals as noise does, and opens what was sealed, also after its author has used the memory again', () => {
    const crypto = sharedNoise()
    for (const size of [0, 1, 100, 5_000]) {
      const said = Buffer.alloc(size, 'said')
      const copy = Buffer.from(said)
      const sealed = crypto.chaCha20Poly1305Encrypt(
        new Uint8ArrayList(said.subarray(0, 1), said.subarray(1)),
        nonce,
        none,
        key
      )
      const whole = crypto.chaCha20Poly1305Encrypt(said, nonce, none, key)
      said.fill(0)
      const expected = noiseCrypto.chaCha20Poly1305Encrypt(copy, nonce, none, key)
      assert.deepEqual(Buffer.from(sealed.subarray()), Buffer.from(expected.subarray()))
      for (let i = 0; i < 2; i++) {
        const arrived = Buffer.from(whole.subarray())
        const opened = crypto.chaCha20Poly1305Decrypt(arrived, nonce, none, key, arrived.subarray(0, size))
        assert.deepEqual(Buffer.from(opened.subarray()), copy)
      }
    }
  })

  it('refuses whatever noise refuses: one bit of the message, its nonce, its key or what goes with it', () => {
    const crypto = sharedNoise()
    const seal = (): Uint8Array => crypto.chaCha20Poly1305Encrypt(text, nonce, none, key).subarray().slice()
    const refuses = (bytes: Uint8Array, n = nonce, ad = none, k = key): void => {
      assert.throws(() => crypto.chaCha20Poly1305Decrypt(bytes, n, ad, k, new Uint8Array(text.length)))
    }
    for (let at = 0; at < text.length + 16; at++) refuses(flipped(seal(), at))
    for (let at = 0; at < nonce.length; at++) refuses(seal(), flipped(nonce, at))
    for (let at = 0; at < key.length; at++) refuses(seal(), nonce, none, flipped(key, at))
    refuses(seal(), nonce, Buffer.from('x'))
    const beside = Buffer.from('what both have heard so far')
    const besides = (): Uint8Array => crypto.chaCha20Poly1305Encrypt(text, nonce, beside, key).subarray().slice()
    refuses(besides())
    for (let at = 0; at < beside.length; at++) refuses(besides(), nonce, flipped(beside, at))
    refuses(besides(), nonce, beside.subarray(1))
    const opened = crypto.chaCha20Poly1305Decrypt(besides(), nonce, new Uint8Array(beside), key)
    assert.deepEqual(Buffer.from(opened.subarray()), text)
    for (let length = 0; length < text.length + 16; length++) refuses(seal().subarray(0, length))
  })
})
