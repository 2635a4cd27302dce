import { ArcticError, ERROR_CODES, type ErrorCode } from '../../errors.ts'
import { visible } from './table.ts'

/** Why a command ends without success. The code may be one that only a newer agent knows. */
export class Failure extends Error {
  readonly code: string
  readonly details: Record<string, unknown>
  readonly exitCode: number

  constructor(code: string, message: string, { details = {}, exitCode = exitOf(code) ?? 1 }: FailureOptions = {}) {
    super(message)
    this.name = 'Failure'
    this.code = code
    this.details = details
    this.exitCode = exitCode
  }
}

interface FailureOptions {
  details?: Record<string, unknown>
  exitCode?: number
}

/** Wrong usage. `help` is the command whose help shows the right one, e.g. `services create`. */
export const usageFailure = (message: string, help = ''): Failure =>
  new Failure('invalid_request', `${message}; see "arctic${help === '' ? '' : ` ${help}`} --help"`)

/** For what only makes an answer nicer, such as names beside ids: none of it for a token that may not know it. */
export function noneIfForbidden(error: unknown): [] {
  if (error instanceof Failure && error.code === 'forbidden') return []
  throw error
}

/** From an answer of the API. A code this version does not know exits by its HTTP status. */
export function failureOfAnswer(status: number, body: unknown, where: string): Failure {
  const error = (body as { error?: { code?: unknown; message?: unknown; details?: unknown } } | null)?.error
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') {
    const what = `${where} answered ${status} without an arctic error`
    return new Failure('unavailable', `${what}; is it an arctic agent?`)
  }
  const details = (error.details ?? {}) as Record<string, unknown>
  return new Failure(error.code, error.message, {
    details,
    exitCode: CONFLICT_STATUS.has(status) ? 5 : (exitOf(error.code) ?? EXIT_OF_STATUS[status] ?? 1)
  })
}

/** What to write to stderr, and with what to exit. Another peer's words may be in it, and a terminal must not obey them. */
export function explainFailure(error: unknown, { json }: { json: boolean }): { text: string; exitCode: number } {
  const { code, message, details } =
    error instanceof Failure ? error : error instanceof ArcticError ? error.toJSON() : bug(error)
  const exitCode = error instanceof Failure || error instanceof ArcticError ? error.exitCode : 1
  const text = json
    ? JSON.stringify({ error: { code, message, details } })
    : visible(`error: ${code}: ${message.replaceAll(/\s*[\r\n]+\s*/g, ' ')}`)
  return { text: `${text}\n`, exitCode }
}

/** A conflict or a limit, whatever the code is: If-Match failed, the state does not fit, too many requests. */
const CONFLICT_STATUS: ReadonlySet<number> = new Set([409, 412, 429])

const EXIT_OF_STATUS: Record<number, number> = { 400: 2, 401: 6, 403: 6, 404: 4, 409: 5, 503: 3 }

const exitOf = (code: string): number | undefined =>
  Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code as ErrorCode][1] : undefined

function bug(error: unknown): { code: string; message: string; details: Record<string, unknown> } {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return { code: 'internal', message: `${text}; this is a bug of the command, please report it`, details: {} }
}
