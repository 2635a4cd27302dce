import type { ICryptoInterface } from '@libp2p/noise'
import { noiseCrypto } from '../../../src/mesh/libp2p/noise-crypto.ts'
import { textOf, wordAt } from '../../host/generations.ts'
import { derivedKept, sealedKept, secretsKept } from '../../limits.ts'

type Bytes = Parameters<ICryptoInterface['generateX25519SharedKey']>[0]
type Derived = ReturnType<ICryptoInterface['getHKDF']>

/**
 * noise's cryptography where both ends of each connection are in one process. What one end has computed the other does not
 * compute again: a secret that both agree on, the keys that follow from it, and the text in a message that the other has sealed. All
 * follow from what goes in, all of which is compared, so nothing that is sent and no answer is another one: what was not sealed
 * here with exactly this key, nonce and text beside it is opened and judged by noise. Noise leaves its keys as they are.
 */
export function sharedNoise(): ICryptoInterface {
  const publicOf = new WeakMap<Bytes, string>()
  const secrets = new Oldest<string, Uint8Array>(secretsKept)
  const derived = new Oldest<number, { ck: Uint8Array; ikm: Uint8Array; keys: Derived }>(derivedKept)
  const sealed = new Oldest<number, Sealed>(sealedKept)
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
    getHKDF(ck, ikm) {
      const from = ikm.subarray()
      const word = wordAt(ck, 0) ^ wordAt(from, 0)
      const known = derived.take(word)
      if (known != null && isSame(known.ck, ck) && isSame(known.ikm, from)) return known.keys
      const keys = noiseCrypto.getHKDF(ck, ikm)
      derived.put(word, { ck: new Uint8Array(ck), ikm: new Uint8Array(from), keys })
      return keys
    },
    chaCha20Poly1305Encrypt(plaintext, nonce, ad, k) {
      // A copy: whoever sends may use its memory again.
      const text = plaintext instanceof Uint8Array ? new Uint8Array(plaintext) : plaintext.slice()
      const bytes = noiseCrypto.chaCha20Poly1305Encrypt(text, nonce, ad, k).subarray()
      const [n0, n4, n8] = [wordAt(nonce, 0), wordAt(nonce, 4), wordAt(nonce, 8)]
      sealed.put(tagWord(bytes), { text, bytes, key: k, beside: ad, n0, n4, n8 })
      return bytes
    },
    chaCha20Poly1305Decrypt(ciphertext, nonce, ad, k, dst) {
      const bytes = ciphertext.subarray()
      const known = sealed.take(tagWord(bytes))
      const isOurs =
        known != null &&
        nonce.byteLength === NONCE_BYTES &&
        known.n0 === wordAt(nonce, 0) &&
        known.n4 === wordAt(nonce, 4) &&
        known.n8 === wordAt(nonce, 8) &&
        isSame(known.key, k) &&
        isSame(known.beside, ad) &&
        isSame(known.bytes, bytes)
      return isOurs ? known.text : noiseCrypto.chaCha20Poly1305Decrypt(bytes, nonce, ad, k, dst)
    }
  }
}

/** What was sealed, and all that went into it; of the nonce, which noise counts up in place, its words. */
interface Sealed {
  text: Uint8Array
  bytes: Uint8Array
  key: Uint8Array
  beside: Uint8Array
  n0: number
  n4: number
  n8: number
}

const [TAG_BYTES, NONCE_BYTES] = [16, 12]

const tagWord = (bytes: Uint8Array): number => wordAt(bytes, Math.max(0, bytes.byteLength - TAG_BYTES))

const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one === other || (one.byteLength === other.byteLength && Buffer.compare(one, other) === 0)

/** What the other end will ask for, once. What nobody asks for gives way to what is newer. */
class Oldest<Name, T> {
  readonly #max: number
  readonly #held = new Map<Name, T>()

  constructor(max: number) {
    this.#max = max
  }

  put(name: Name, value: T): void {
    if (this.#held.size >= this.#max) {
      const oldest = this.#held.keys().next()
      if (oldest.done !== true) this.#held.delete(oldest.value)
    }
    this.#held.set(name, value)
  }

  take(name: Name): T | undefined {
    const value = this.#held.get(name)
    if (value !== undefined) this.#held.delete(name)
    return value
  }
}
