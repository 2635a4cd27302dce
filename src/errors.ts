/**
 * Every error an operator can meet. One class is one meaning: a stable `code`, the HTTP status and CLI exit that go with
 * it (the table below is the contract's), and a message of the form "what happened; what to do next".
 */

/** code → [HTTP status, CLI exit]. README's table of errors mirrors this one. */
export const ERROR_CODES = {
  invalid_cidr: [400, 2],
  invalid_request: [400, 2],
  transparent_requires_interface: [400, 2],
  transparent_tcp_only: [400, 2],
  unauthorized: [401, 6],
  forbidden: [403, 6],
  invite_expired: [403, 6],
  invite_used: [403, 6],
  invite_invalid: [403, 6],
  service_not_found: [404, 4],
  route_not_found: [404, 4],
  peer_not_found: [404, 4],
  token_not_found: [404, 4],
  not_found: [404, 4],
  target_peer_not_admitted: [409, 5],
  service_limit_exceeded: [409, 5],
  name_taken: [409, 5],
  already_in_cluster: [409, 5],
  not_in_cluster: [409, 5],
  interface_conflict: [409, 5],
  unavailable: [503, 3],
  internal: [500, 1]
} as const satisfies Record<string, readonly [status: number, exit: number]>

export type ErrorCode = keyof typeof ERROR_CODES

/** The JSON an API answers with, under the key `error`. */
export interface ErrorBody {
  code: ErrorCode
  message: string
  details: Record<string, unknown>
}

/** An expected failure that an operator caused or can mend. Anything else that is thrown is a bug. */
export class ArcticError extends Error {
  readonly code: ErrorCode
  readonly details: Record<string, unknown>

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.details = details
  }

  get status(): number {
    return ERROR_CODES[this.code][0]
  }

  get exitCode(): number {
    return ERROR_CODES[this.code][1]
  }

  toJSON(): ErrorBody {
    return { code: this.code, message: this.message, details: this.details }
  }
}

export class InvalidCidrError extends ArcticError {
  /** `meant` is the CIDR that was probably meant, when there is one. */
  constructor(field: string, value: string, why: string, meant?: string) {
    const hint =
      meant == null ? 'write it as ADDRESS/PREFIX, for example 10.2.0.0/24 or fd00::/64' : `did you mean ${meant}?`
    super('invalid_cidr', `${field} "${value}" ${why}; ${hint}`, { field, value, ...(meant == null ? {} : { meant }) })
  }
}

export class InvalidRequestError extends ArcticError {
  constructor(message: string, details?: Record<string, unknown>) {
    super('invalid_request', message, details)
  }
}

export class PeerNotFoundError extends ArcticError {
  constructor(peer: string, why = 'no peer has this id, id prefix or name') {
    super('peer_not_found', `peer "${peer}": ${why}; see "arctic peers list --all"`, { peer })
  }
}

export class ServiceNotFoundError extends ArcticError {
  constructor(id: string) {
    super('service_not_found', `no service "${id}"; see "arctic services list"`, { service_id: id })
  }
}

export class RouteNotFoundError extends ArcticError {
  constructor(id: string, serviceId?: string) {
    const of = serviceId == null ? '' : ` in service "${serviceId}"`
    super('route_not_found', `no route "${id}"${of}; see "arctic routes list"`, { route_id: id, service_id: serviceId })
  }
}

export class TargetPeerNotAdmittedError extends ArcticError {
  constructor(peer: string, state: string) {
    const next =
      state === 'revoked'
        ? 'choose another target, or make that host a new peer by moving its state directory away'
        : 'admit it with "arctic cluster invite" here and "arctic cluster join" there'
    super('target_peer_not_admitted', `peer "${peer}" is ${state}, not admitted; ${next}`, { peer, state })
  }
}

export class TokenNotFoundError extends ArcticError {
  constructor(id: string) {
    super('token_not_found', `no token "${id}"; see "arctic tokens list"`, { token_id: id })
  }
}

/** `who` completes "that is all …": `the cluster policy allows`. */
export class ServiceLimitExceededError extends ArcticError {
  constructor(limit: number, who: string) {
    super(
      'service_limit_exceeded',
      `no more than ${limit} services: that is all ${who}; delete one, or have the limit raised`,
      { limit }
    )
  }
}

export class TransparentRequiresInterfaceError extends ArcticError {
  constructor() {
    super(
      'transparent_requires_interface',
      "fully_transparent needs a device of the service's own; set requires_interface too",
      {}
    )
  }
}

export class TransparentTcpOnlyError extends ArcticError {
  constructor() {
    super(
      'transparent_tcp_only',
      'fully_transparent works with transport tcp only; drop fully_transparent or use transport_type tcp',
      {}
    )
  }
}

export class NameTakenError extends ArcticError {
  constructor(kind: string, name: string) {
    super('name_taken', `the ${kind} name "${name}" is in use; choose another one`, { kind, name })
  }
}

/** `why` tells whose the address is. */
export class InterfaceConflictError extends ArcticError {
  constructor(address: string, why: string) {
    super('interface_conflict', `${address} is taken: ${why}; choose an address that nobody has`, { address })
  }
}

export class AlreadyInClusterError extends ArcticError {
  constructor(cluster: string) {
    super(
      'already_in_cluster',
      `this peer already belongs to cluster "${cluster}"; leave it first with "arctic cluster leave"`,
      { cluster }
    )
  }
}

export class NotInClusterError extends ArcticError {
  constructor() {
    super(
      'not_in_cluster',
      'this peer belongs to no cluster yet; run "arctic cluster init" or "arctic cluster join TOKEN"',
      {}
    )
  }
}

export class InviteExpiredError extends ArcticError {
  constructor(expiredAt: string) {
    super('invite_expired', `the invite expired at ${expiredAt}; ask for a new one with "arctic cluster invite"`, {
      expired_at: expiredAt
    })
  }
}

export class InviteUsedError extends ArcticError {
  constructor(uses: number) {
    super(
      'invite_used',
      `the invite was good for ${uses} ${uses === 1 ? 'peer' : 'peers'} and is used up; ask for a new one with "arctic cluster invite"`,
      { uses }
    )
  }
}

export class InviteInvalidError extends ArcticError {
  constructor(why: string) {
    super(
      'invite_invalid',
      `the invite is not valid: ${why}; copy the whole token, or ask for a new one with "arctic cluster invite"`,
      {}
    )
  }
}

export class UnauthorizedError extends ArcticError {
  constructor(message: string) {
    super('unauthorized', message)
  }
}

export class ForbiddenError extends ArcticError {
  constructor(message: string, details?: Record<string, unknown>) {
    super('forbidden', message, details)
  }
}

/** This peer was a member, and was thrown out; `proven`: by the proof that it signed two things as one. */
export class RevokedError extends ArcticError {
  constructor({ cluster, by, at, how }: { cluster: string; by: string; at: string; how: 'revoked' | 'proven' }) {
    const why =
      how === 'revoked'
        ? `by ${by} at ${at}`
        : `at ${at} since it signed two things as one, as happens when a state directory was copied (${by} has the proof)`
    super(
      'forbidden',
      `this peer was revoked from cluster "${cluster}" ${why}; "arctic cluster leave" forgets the cluster, and only with a ` +
        'new state directory can this host join it again',
      { cluster, by, at, how }
    )
  }
}

export class UnavailableError extends ArcticError {
  constructor(message: string, details?: Record<string, unknown>, options?: ErrorOptions) {
    super('unavailable', message, details, options)
  }
}

/**
 * A request that is right in itself and does not fit what has happened meanwhile: 409, or 412 for a failed `If-Match`.
 * The code is `invalid_request`, since the contract has no code of its own for it; status and exit are a conflict's.
 */
export class ConflictError extends ArcticError {
  readonly #status: 409 | 412

  constructor(status: 409 | 412, message: string, details?: Record<string, unknown>) {
    super('invalid_request', message, details)
    this.#status = status
  }

  override get status(): number {
    return this.#status
  }

  override get exitCode(): number {
    return 5
  }
}

/** HTTP 429, and a limit's exit. The code is `unavailable`: the same request is good a little later. */
export class TooManyRequestsError extends ArcticError {
  constructor(waitMs: number) {
    super('unavailable', 'too many requests from this address; wait a little and ask less often', {
      retry_after_ms: Math.ceil(waitMs)
    })
  }

  override get status(): number {
    return 429
  }

  override get exitCode(): number {
    return 5
  }
}

/** The `error` object for anything thrown: an ArcticError as it is, all else as `internal` without its text. */
export function toErrorBody(error: unknown): ErrorBody {
  if (error instanceof ArcticError) return error.toJSON()
  return {
    code: 'internal',
    message: 'the agent met an unexpected error; its log names it, please report it',
    details: {}
  }
}

/** What another agent refused, as if it had happened here; null for anything that is no error body. */
export function fromErrorBody(body: unknown): ArcticError | null {
  const { code, message, details, status } = (body ?? {}) as Partial<Record<string, unknown>>
  if (typeof code !== 'string' || !Object.hasOwn(ERROR_CODES, code)) return null
  const text = String(message)
  const more = details != null && typeof details === 'object' ? (details as Record<string, unknown>) : {}
  if (status === 409 || status === 412) {
    if (code === 'invalid_request') return new ConflictError(status, text, more)
  }
  return new ArcticError(code as ErrorCode, text, more)
}
