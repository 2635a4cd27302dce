import { fromErrorBody, UnavailableError, type ErrorBody } from '../../errors.ts'

/**
 * What a stranger asks, as JSON: to be admitted, or to be known as what it is already, a member whose admission has not
 * come here yet. Who it is has been proven by the connection.
 */
export type JoinQuestion = { token: string; name: string; snapshot?: boolean } | { introduce: true }

/**
 * The first answer, as JSON: refused with the contract's error, or admitted. Then the history follows; or, to who can take
 * a snapshot and if there is one, all of the auth log and the snapshot of so many bytes, in pieces.
 */
export type JoinAnswer = { error: ErrorBody } | { genesis: string; snapshot?: number } | { listening: true }

const QUESTION_BYTES_MAX = 16 * 1024

/** Null for anything that is no question; it comes from a stranger. */
export function parseQuestion(message: Uint8Array): JoinQuestion | null {
  if (message.byteLength > QUESTION_BYTES_MAX) return null
  const parsed = parseJson(message)
  const { token, name, introduce, snapshot } = (parsed ?? {}) as Partial<Record<string, unknown>>
  if (introduce === true) return { introduce }
  return typeof token === 'string' && typeof name === 'string' ? { token, name, snapshot: snapshot === true } : null
}

/** The genesis and the size of the snapshot, or the error that the admitting side met, thrown here as if it had happened here. */
export function readAnswer(message: Uint8Array): { genesis: Uint8Array; snapshot: number | null } {
  const { error, genesis, snapshot = null } = (parseJson(message) ?? {}) as Partial<Record<string, unknown>>
  if (error != null) throw fromErrorBody(error) ?? notUnderstood()
  if (typeof genesis !== 'string') throw notUnderstood()
  if (snapshot !== null && (!Number.isSafeInteger(snapshot) || (snapshot as number) < 0)) throw notUnderstood()
  return { genesis: Buffer.from(genesis, 'base64'), snapshot: snapshot as number | null }
}

export const isListening = (message: Uint8Array): boolean =>
  (parseJson(message) as { listening?: unknown } | null)?.listening === true

const notUnderstood = (): UnavailableError =>
  new UnavailableError('the inviting peer gave an answer that this agent does not know; compare both agents’ versions')

function parseJson(message: Uint8Array): unknown {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(message).toString())
    return parsed != null && typeof parsed === 'object' ? parsed : null
  } catch {
    return null
  }
}
