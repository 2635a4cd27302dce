import nodeCrypto, { type KeyObject, type webcrypto } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { keysKept, signaturesKept } from '../limits.ts'
import { wordAt, Generations } from './generations.ts'

/**
 * All hosts of a world are one process, and each of them checks the signature of each message: the same question a
 * thousand times. Its answer depends on key, data and signature alone, so while a simulation shares them, what was asked
 * with exactly these is not computed again; and what was signed here with a key is signed by it. Whoever asks still asks, and a
 * single other bit is another question.
 *
 * What is returned ends it.
 */
export function shareSignatures(): () => void {
  sharers++
  return () => {
    if (--sharers > 0) return
    answers.clear()
    imported.clear()
  }
}

/** Of all that goes into it, as copies. */
interface Answer {
  /** The public key's own bytes, base64url. */
  key: string
  data: Buffer
  signature: Buffer
  isGood: boolean
}

let sharers = 0
/** By a word of the signature. */
const answers = new Generations<Answer, number>(signaturesKept)
/** A key's own bytes cost more to read than what is saved, but once. */
const names = new WeakMap<KeyObject, string | null>()

type Asked = [algorithm: string | null | undefined, data: NodeJS.ArrayBufferView, key: unknown]

const [computeVerify, computeSign] = [nodeCrypto.verify, nodeCrypto.sign] as unknown as [
  (...asked: [...Asked, signature: NodeJS.ArrayBufferView]) => boolean,
  (...asked: Asked) => Buffer
]

function verify(...asked: [...Asked, signature: NodeJS.ArrayBufferView]): boolean {
  const [, data, , signature] = asked
  const key = asked.length === 4 ? keyOf(asked) : null
  if (key == null || !(data instanceof Uint8Array) || !(signature instanceof Uint8Array)) return computeVerify(...asked)
  const word = wordAt(signature, 0)
  const known = answers.get(word)
  if (known?.key === key && known.signature.equals(signature) && known.data.equals(data)) return known.isGood
  const isGood = computeVerify(...asked)
  answers.set(word, { key, data: Buffer.from(data), signature: Buffer.from(signature), isGood })
  return isGood
}

function sign(...asked: Asked): Buffer {
  const signature = computeSign(...asked)
  const key = asked.length === 3 ? keyOf(asked) : null
  const [, data] = asked
  if (key != null && data instanceof Uint8Array) {
    const copies = { data: Buffer.from(data), signature: Buffer.from(signature) }
    answers.set(wordAt(signature, 0), { key, ...copies, isGood: true })
  }
  return signature
}

/** The public key of a question that is shared; null of any other. */
function keyOf([algorithm, , key]: readonly [...Asked, ...unknown[]]): string | null {
  if (sharers === 0 || algorithm != null || !(key instanceof nodeCrypto.KeyObject)) return null
  let name = names.get(key)
  if (name === undefined) {
    const isEd25519 = key.asymmetricKeyType === 'ed25519'
    name = isEd25519 ? ((key.export({ format: 'jwk' }) as webcrypto.JsonWebKey).x ?? null) : null
    names.set(key, name)
  }
  return name
}

/**
 * libp2p reads a peer's key anew for each signature that it checks: another object each time, whose bytes would have to be read. Of the
 * same key it is the same object here.
 */
const imported = new Generations<KeyObject>(keysKept)
const importPublicKey = nodeCrypto.createPublicKey

function createPublicKey(from: Parameters<typeof importPublicKey>[0]): KeyObject {
  const jwk =
    typeof from === 'object' && 'format' in from && from.format === 'jwk' ? (from.key as webcrypto.JsonWebKey) : null
  const isOurs = sharers > 0 && jwk?.kty === 'OKP' && jwk.crv === 'Ed25519' && jwk.d == null
  if (!isOurs || typeof jwk.x !== 'string') return importPublicKey(from)
  let key = imported.get(jwk.x)
  if (key == null) imported.set(jwk.x, (key = importPublicKey(from)))
  return key
}

for (const [name, value] of Object.entries({ createPublicKey, verify, sign }))
  Object.defineProperty(nodeCrypto, name, { value, configurable: true, writable: true })
syncBuiltinESMExports()
