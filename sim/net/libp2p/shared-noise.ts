import type { ICryptoInterface } from '@libp2p/noise'
import { noiseCrypto } from '../../../src/mesh/libp2p/noise-crypto.ts'
import { textOf } from '../../host/generations.ts'
import { sealedKept, secretsKept } from '../../limits.ts'

type Bytes = Parameters<ICryptoInterface['generateX25519SharedKey']>[0]

/**
 * noise's cryptography where both ends of each connection are in one process. What one end has computed the other does not
 * compute again: a secret that both agree on, and the text in a message that the other has sealed. Both follow from what goes in, all
 * of which is compared, so nothing that is sent and no answer is another one: what was not sealed here with exactly this key, nonce
 * and nothing beside it is opened and judged by noise.
 */
export function sharedNoise(): ICryptoInterface {
  const publicOf = new WeakMap<Bytes, string>()
  const secrets = new Oldest<Uint8Array>(secretsKept)
  const sealed = new Oldest<{ text: Uint8Array; bytes: Uint8Array; nonce: string; key: Uint8Array }>(sealedKept)
  return {
    ...noiseCrypto,
    generateX25519KeyPair() {
      const pair = noiseCrypto.generateX25519KeyPair()
      publicOf.set(pair.privateKey, textOf(pair.publicKey.subarray()))
      return pair
    },
    generateX25519SharedKey(own, theirs) {
      const mine = publicOf.get(own)
      if (mine == null) return noiseCrypto.generateX25519SharedKey(own, theirs)
      const other = textOf(theirs.subarray())
      const pair = mine < other ? mine + other : other + mine
      const known = secrets.take(pair)
      if (known != null) return known
      const secret = noiseCrypto.generateX25519SharedKey(own, theirs).subarray()
      secrets.put(pair, new Uint8Array(secret))
      return secret
    },
    chaCha20Poly1305Encrypt(plaintext, nonce, ad, k) {
      if (ad.byteLength > 0) return noiseCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, k)
      // A copy: whoever sends may use its memory again.
      const text = plaintext instanceof Uint8Array ? new Uint8Array(plaintext) : plaintext.slice()
      const bytes = noiseCrypto.chaCha20Poly1305Encrypt(text, nonce, ad, k).subarray()
      sealed.put(tagOf(bytes), { text, bytes, nonce: textOf(nonce), key: new Uint8Array(k) })
      return bytes
    },
    chaCha20Poly1305Decrypt(ciphertext, nonce, ad, k, dst) {
      const bytes = ciphertext.subarray()
      const known = ad.byteLength > 0 ? undefined : sealed.take(tagOf(bytes))
      const isSame =
        known != null &&
        known.nonce === textOf(nonce) &&
        Buffer.compare(known.key, k) === 0 &&
        Buffer.compare(known.bytes, bytes) === 0
      return isSame ? known.text : noiseCrypto.chaCha20Poly1305Decrypt(bytes, nonce, ad, k, dst)
    }
  }
}

const TAG_BYTES = 16

const tagOf = (bytes: Uint8Array): string => textOf(bytes.subarray(Math.max(0, bytes.byteLength - TAG_BYTES)))

/** What the other end will ask for, once. What nobody asks for gives way to what is newer. */
class Oldest<T> {
  readonly #max: number
  readonly #held = new Map<string, T>()

  constructor(max: number) {
    this.#max = max
  }

  put(name: string, value: T): void {
    if (this.#held.size >= this.#max) this.#held.delete(this.#held.keys().next().value ?? '')
    this.#held.set(name, value)
  }

  take(name: string): T | undefined {
    const value = this.#held.get(name)
    this.#held.delete(name)
    return value
  }
}
