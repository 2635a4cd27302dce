import nodeCrypto, { type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { signaturesKept } from '../limits.ts'

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
    if (--sharers === 0) answers = older = new Map()
  }
}

type Answers = Map<string, boolean>

let sharers = 0
/** Two generations: what is in neither is computed. */
let answers: Answers = new Map()
let older: Answers = new Map()
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
  const known = answers.get(question) ?? older.get(question)
  if (known != null) return known
  const answer = compute(...asked)
  if (answers.size >= signaturesKept) [older, answers] = [answers, new Map()]
  answers.set(question, answer)
  return answer
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

Object.defineProperty(nodeCrypto, 'verify', { value: verify, configurable: true, writable: true })
syncBuiltinESMExports()
