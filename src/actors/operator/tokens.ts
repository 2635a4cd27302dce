import type { Clock } from '../../clock.ts'
import type { TokenId, TokenRecord } from '../../crdt/schema.ts'
import { covers, SCOPES, type Scope } from '../../crdt/scopes.ts'
import type { ReplicatedState } from '../../crdt/state.ts'
import { isExpired, isSecretOf, parseToken } from '../../crdt/token.ts'
import type { View } from '../../crdt/view.ts'
import { ForbiddenError, InvalidRequestError, NotInClusterError, UnauthorizedError } from '../../errors.ts'
import { tokenTtlDefaultMs } from '../limits.ts'

export interface TokenJson {
  id: TokenId
  name: string
  scopes: string[]
  created_at: string
  expires_at: string
  /** By the answering agent's clock. */
  expired: boolean
}

/** The one answer that holds the secret. */
export type NewTokenJson = TokenJson & { token: string }

export interface TokenRequest {
  scopes: string[]
  ttl_seconds?: number
  name?: string
}

interface TokenDeps {
  replica: Pick<ReplicatedState, 'createToken' | 'revokeToken'> & { view(): Pick<View, 'cluster' | 'tokens'> }
  clock: Clock
}

/** The tokens of the cluster: each is good at every peer that has heard of it, until it ends or is revoked. */
export class TokenNouns {
  readonly #deps: TokenDeps

  constructor(deps: TokenDeps) {
    this.#deps = deps
  }

  /** `by`: the token that asks, which can give no more than it has and for no longer; null for this host's operator. */
  async create({ scopes, ttl_seconds, name }: TokenRequest, by: TokenJson | null): Promise<NewTokenJson> {
    const { replica, clock } = this.#deps
    this.#tokens()
    const wanted = scopes.map(knownScope)
    if (wanted.length === 0) throw new InvalidRequestError('scopes is empty; name at least one', { field: 'scopes' })
    const missing = by == null ? undefined : wanted.find((scope) => !covers(by.scopes, scope))
    if (missing != null) {
      throw new ForbiddenError(`a token gives no more than it has, and this one has no scope ${missing}`, {
        scope: missing
      })
    }
    const latest = by == null ? Infinity : Date.parse(by.expires_at)
    const asked = clock.now() + (ttl_seconds == null ? tokenTtlDefaultMs : ttl_seconds * 1000)
    if (ttl_seconds != null && asked > latest) {
      throw new ForbiddenError(`a token makes none that outlives it, and this one ends at ${by?.expires_at}`)
    }
    const expiresAt = Math.min(asked, latest)
    const { record, text } = await replica.createToken({ ...(name == null ? {} : { name }), scopes: wanted, expiresAt })
    return { ...this.#json(record), token: text }
  }

  list(): TokenJson[] {
    return [...this.#tokens().values()].map((record) => this.#json(record))
  }

  async revoke(id: string): Promise<void> {
    this.#tokens()
    await this.#deps.replica.revokeToken(id.toUpperCase())
  }

  /** Whose `text` is. UnauthorizedError for everything that is no good token of this cluster, now. */
  authenticate(text: string): TokenJson {
    const { replica, clock } = this.#deps
    const view = replica.view()
    if (view.cluster == null) {
      throw new UnauthorizedError('this agent is in no cluster yet, so it has no tokens; ask through its unix socket')
    }
    const parsed = parseToken(text)
    const record = parsed == null ? undefined : view.tokens.get(parsed.id)
    if (parsed == null || record == null || !isSecretOf(record, parsed.secret)) {
      throw new UnauthorizedError(
        'the token is not one of this cluster, or was revoked; make one with "arctic tokens create" on an agent\'s host'
      )
    }
    if (isExpired(record, clock.now())) {
      throw new UnauthorizedError(
        `the token expired at ${record.expires_at}; make a new one with "arctic tokens create"`
      )
    }
    return this.#json(record)
  }

  #tokens(): ReadonlyMap<TokenId, TokenRecord> {
    const { cluster, tokens } = this.#deps.replica.view()
    if (cluster == null) throw new NotInClusterError()
    return tokens
  }

  #json(record: TokenRecord): TokenJson {
    const { id, name, scopes, created_at, expires_at } = record
    return { id, name, scopes, created_at, expires_at, expired: isExpired(record, this.#deps.clock.now()) }
  }
}

function knownScope(text: string): Scope {
  const scope = SCOPES.find((one) => one === text)
  if (scope != null) return scope
  throw new InvalidRequestError(`there is no scope "${text}"; known are ${SCOPES.join(', ')}`, { field: 'scopes' })
}
