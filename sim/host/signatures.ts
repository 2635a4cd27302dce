import nodeCrypto, { type KeyObject, type webcrypto } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { keysKept, signaturesKept } from '../limits.ts'
import { Generations, textOf } from './generations.ts'

/**
 * All hosts of a world are one process, and each of them checks the signature of each message: the same question a
 * thousand times. Its answer depends on key, data and signature alone, so while a simulation shares them, what was asked
 * with exactly these is not computed again. Whoever asks still asks, and a single other bit is another question.
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

let sharers = 0
const answers = new Generations<boolean>(signaturesKept)
/** Keys are known by number, for a key's own bytes cost more to read than what is saved. */
const numbers = new WeakMap<KeyObject, number>()
let keys = 0

type Question = [
  algorithm: string | null | undefined,
  data: NodeJS.ArrayBufferView,
  key: unknown,
  signature: NodeJS.ArrayBufferView
]

const compute = nodeCrypto.verify as (...asked: Question) => boolean

function verify(...asked: Question): boolean {
  const [algorithm, data, key, signature] = asked
  const isPlain = algorithm == null && key instanceof nodeCrypto.KeyObject
  if (sharers === 0 || !isPlain || !(data instanceof Uint8Array) || !(signature instanceof Uint8Array)) {
    return compute(...asked)
  }
  let number = numbers.get(key)
  if (number == null) numbers.set(key, (number = keys++))
  const question = `${number} ${textOf(signature)}${textOf(data)}`
  const known = answers.get(question)
  if (known != null) return known
  const answer = compute(...asked)
  answers.set(question, answer)
  return answer
}

/**
 * libp2p reads a peer's key anew for each signature that it checks: another object each time, and so another question. Of the same
 * key it is the same object here.
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

Object.defineProperty(nodeCrypto, 'createPublicKey', { value: createPublicKey, configurable: true, writable: true })
Object.defineProperty(nodeCrypto, 'verify', { value: verify, configurable: true, writable: true })
syncBuiltinESMExports()
