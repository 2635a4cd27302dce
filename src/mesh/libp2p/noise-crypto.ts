import { createPublicKey, diffieHellman, generateKeyPairSync, hash, hkdfSync, type KeyObject } from 'node:crypto'
import type { ICryptoInterface } from '@libp2p/noise'
import { defaultCrypto } from '@libp2p/noise/crypto'

type Bytes = Parameters<ICryptoInterface['generateX25519SharedKey']>[0]

/**
 * The cryptography of noise's handshakes as OpenSSL does it, with keys that stay in it. noise's own default uses OpenSSL too, yet
 * takes each key out of it as bytes and has it read them anew at each of three agreements, which costs five times as much as what
 * is computed. Bytes on the wire are the same. What follows a handshake is noise's own: small messages are faster there.
 */
export const noiseCrypto: ICryptoInterface = {
  ...defaultCrypto,
  hashSHA256: (data) => hash('sha256', data.subarray(), 'buffer'),
  /** RFC 5869 without info, three keys long, is what noise asks for. Cold, as after a start, it takes a third of the time of one in JavaScript. */
  getHKDF(ck, ikm) {
    const keys = new Uint8Array(hkdfSync('sha256', ikm, ck, NOTHING, 96))
    return [keys.subarray(0, 32), keys.subarray(32, 64), keys.subarray(64, 96)]
  },
  generateX25519KeyPair() {
    const pair = generateKeyPairSync('x25519')
    // Stands for the key, whose bytes nobody asks for.
    const privateKey = new Uint8Array(0)
    ownKeys.set(privateKey, pair.privateKey)
    return { publicKey: Buffer.from(pair.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'), privateKey }
  },
  generateX25519SharedKey(own, theirs) {
    const privateKey = ownKeys.get(own)
    if (privateKey == null) return defaultCrypto.generateX25519SharedKey(own, theirs)
    return diffieHellman({ privateKey, publicKey: read(theirs) })
  }
}

const NOTHING = new Uint8Array(0)
const ownKeys = new WeakMap<Bytes, KeyObject>()
/** A handshake agrees with the other end's ephemeral key twice. */
const theirKeys = new WeakMap<Bytes, KeyObject>()

function read(bytes: Bytes): KeyObject {
  let key = theirKeys.get(bytes)
  if (key == null) {
    const x = Buffer.from(bytes.subarray()).toString('base64url')
    theirKeys.set(bytes, (key = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })))
  }
  return key
}
