import { isoTime } from './clock.ts'
import { type Signer, verify } from './crdt/signer.ts'
import { InvalidRequestError } from './errors.ts'

/**
 * A licence: a JSON file that its issuer signed, verified without asking anybody.
 *
 *   { "license": { "id", "holder", "edition", "limits": { "services": N | null }, "issued_at", "expires_at" },
 *     "signature": base64 of Ed25519 over "arctic-license-v1\0" ‖ canonical JSON of "license" }
 *
 * Canonical JSON has its keys sorted and no blanks, so that a file may be laid out anew without breaking it. What a newer
 * issuer adds is signed with the rest and otherwise left alone.
 */
export interface License {
  id: string
  holder: string
  edition: string
  /** null is no limit. */
  limits: { services: number | null }
  /** ISO 8601. */
  issued_at: string
  /** ISO 8601; null never. */
  expires_at: string | null
}

/** What an agent goes by: without a good licence it is the community edition, which has no limits. */
export interface LicenseState {
  license: License | null
  /** Where it was looked for; null when no file was named and none is at the usual place. */
  file: string | null
  /** Why the file does not count, and what to do. */
  problem: string | null
}

export const COMMUNITY: LicenseState = { license: null, file: null, problem: null }

/** Why a file is no licence; completes "the licence FILE …". */
export class BadLicenseError extends Error {}

/** Reads and verifies; whether it has expired is another question. @throws {BadLicenseError} */
export function parseLicense(text: string, publicKey: Uint8Array): License {
  const { license, signature } = asObject(parseJson(text), 'is no licence: it')
  const signed = asObject(license, 'is no licence: its "license"')
  if (typeof signature !== 'string') throw new BadLicenseError('has no signature; get the whole file again')
  if (!verify(publicKey, signedBytes(signed), Buffer.from(signature, 'base64'))) {
    throw new BadLicenseError(
      'is not signed by the issuer of --license-key: it was changed, or is of another issuer; get the file again'
    )
  }
  return readLicense(signed)
}

/** The text of a licence file. `signer` is the issuer. */
export function sealLicense(license: License, signer: Signer): string {
  const signature = Buffer.from(signer.sign(signedBytes({ ...license }))).toString('base64')
  return `${JSON.stringify({ license, signature }, null, 2)}\n`
}

/** 32 bytes in base64. InvalidRequestError naming `where` it stands. */
export function readLicenseKey(text: string, where: string): Uint8Array {
  if (/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)) return Buffer.from(text, 'base64')
  throw new InvalidRequestError(`${where} must be an Ed25519 public key, 32 bytes in base64`)
}

function readLicense(fields: Record<string, unknown>): License {
  const text = (name: string): string => {
    const value = fields[name]
    if (typeof value === 'string' && value !== '' && value.length <= 200) return value
    throw new BadLicenseError(`has no good "${name}"; ask its issuer for another one`)
  }
  const time = (name: string): string => {
    const value = Date.parse(text(name))
    if (!Number.isNaN(value)) return isoTime(value)
    throw new BadLicenseError(`has no good "${name}"; ask its issuer for another one`)
  }
  const { services = null } = asObject(fields['limits'] ?? {}, 'is no licence: its "limits"')
  if (services !== null && !(Number.isSafeInteger(services) && (services as number) >= 0)) {
    throw new BadLicenseError('has no good "limits"; ask its issuer for another one')
  }
  return {
    id: text('id'),
    holder: text('holder'),
    edition: text('edition'),
    limits: { services: services as number | null },
    issued_at: time('issued_at'),
    expires_at: fields['expires_at'] == null ? null : time('expires_at')
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new BadLicenseError('is no JSON, or not all of it; get the whole file again')
  }
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value != null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new BadLicenseError(`${what} is no JSON object; get the file again`)
}

const signedBytes = (license: Record<string, unknown>): Uint8Array =>
  Buffer.from(`arctic-license-v1\0${canonical(license)}`)

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value == null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(',')}}`
}
