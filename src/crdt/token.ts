import { createHash, timingSafeEqual } from 'node:crypto'
import { isoTime } from '../clock.ts'
import { InvalidRequestError } from '../errors.ts'
import { isUlid } from './ids.ts'
import { tokenScopesMax, tokenTtlMaxMs } from './limits.ts'
import type { TokenRecord } from './schema.ts'
import { SCOPES, type Scope } from './scopes.ts'
import { checkName, checkTime } from './validate.ts'

/**
 * Tokens of the HTTP API. The text that its owner has is `arctic_ID_SECRET`: a ULID and 32 random bytes in base64url.
 * The cluster keeps SHA-256 of the secret alone: it has 256 bits of its own, so nothing slower would be safer.
 */
export function formatToken(id: string, secret: Uint8Array): string {
  return `arctic_${id}_${Buffer.from(secret).toString('base64url')}`
}

/** The parts of a token's text; null when it is none. */
export function parseToken(text: string): { id: string; secret: Uint8Array } | null {
  const match = /^arctic_([0-7][0-9A-HJKMNP-TV-Z]{25})_([A-Za-z0-9_-]{43})$/.exec(text)
  return match == null ? null : { id: match[1] as string, secret: Buffer.from(match[2] as string, 'base64url') }
}

/** Takes the same time wherever the two differ. */
export function isSecretOf(record: TokenRecord, secret: Uint8Array): boolean {
  return timingSafeEqual(Buffer.from(record.hash, 'hex'), digest(secret))
}

export const isExpired = ({ expires_at }: Pick<TokenRecord, 'expires_at'>, now: number): boolean =>
  now >= Date.parse(expires_at)

export interface TokenInput {
  name?: string
  scopes: readonly Scope[]
  /** Wall-clock ms. */
  expiresAt: number
}

/** Scopes in one order, each once. InvalidRequestError for a scope, name or time to live that cannot be. */
export function newToken(input: TokenInput, id: string, secret: Uint8Array, now: number): TokenRecord {
  const { scopes, expiresAt } = input
  if (!(expiresAt > now && expiresAt <= now + tokenTtlMaxMs)) {
    throw new InvalidRequestError('a token must end within 3650 days, and not yet', { field: 'ttl_seconds' })
  }
  const unknown = scopes.find((scope) => !SCOPES.includes(scope))
  if (unknown != null) {
    throw new InvalidRequestError(`there is no scope "${unknown}"; known are ${SCOPES.join(', ')}`, { field: 'scopes' })
  }
  return checkToken({
    id,
    name: input.name ?? `token-${id.slice(-8).toLowerCase()}`,
    hash: digest(secret).toString('hex'),
    scopes: SCOPES.filter((scope) => scopes.includes(scope)),
    created_at: isoTime(now),
    expires_at: isoTime(expiresAt)
  })
}

export const TOKEN_FIELDS = ['id', 'name', 'hash', 'scopes', 'created_at', 'expires_at'] as const

/** Canonical form of a record. A scope that only a newer version knows is kept; it allows nothing here. */
export function checkToken(record: TokenRecord): TokenRecord {
  const { id, hash, scopes } = record
  if (!isUlid(id)) throw new InvalidRequestError('a token id must be a ULID', { id })
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) {
    throw new InvalidRequestError('the hash of a token must be SHA-256 in hex', { field: 'hash' })
  }
  const isList = Array.isArray(scopes) && scopes.length >= 1 && scopes.length <= tokenScopesMax
  if (!isList || !scopes.every((scope) => typeof scope === 'string' && /^[a-z_.]{1,64}$/.test(scope))) {
    throw new InvalidRequestError(`scopes must be a list of 1 to ${tokenScopesMax} scopes`, { field: 'scopes' })
  }
  return {
    id,
    name: checkName('token', record.name),
    hash,
    scopes: [...scopes],
    created_at: checkTime('created_at', record.created_at),
    expires_at: checkTime('expires_at', record.expires_at)
  }
}

const digest = (secret: Uint8Array): Buffer => createHash('sha256').update(secret).digest()
