/**
 * Issues licences, for tests and for whoever runs a fleet with editions of its own.
 *
 *   node tools/license.ts key FILE                  a new issuer's key, kept in FILE (0600); prints the public one
 *   node tools/license.ts issue --key FILE --holder NAME --edition NAME [--services N] [--days N]      a licence, on stdout
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { newId } from '../src/crdt/ids.ts'
import { signerFromSeed, type Signer } from '../src/crdt/signer.ts'
import { sealLicense } from '../src/license.ts'
import { systemRandom } from '../src/random.ts'

const DAY_MS = 24 * 3600 * 1000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: 'string' },
    holder: { type: 'string' },
    edition: { type: 'string' },
    services: { type: 'string' },
    days: { type: 'string' }
  }
})
const [verb, path] = positionals
if (verb === 'key' && path != null) {
  // Never over another one: without it its licences could not be renewed.
  writeFileSync(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
  console.log(publicKey(signerOf(path)))
} else if (verb === 'issue' && values.key != null && values.holder != null && values.edition != null) {
  const now = systemClock.now()
  const license = {
    id: newId(systemClock, systemRandom),
    holder: values.holder,
    edition: values.edition,
    limits: { services: values.services == null ? null : whole('services', values.services) },
    issued_at: isoTime(now),
    expires_at: values.days == null ? null : isoTime(now + whole('days', values.days) * DAY_MS)
  }
  process.stdout.write(sealLicense(license, signerOf(values.key)))
} else {
  console.error(
    'usage: tools/license.ts key FILE | issue --key FILE --holder NAME --edition NAME [--services N] [--days N]'
  )
  process.exitCode = 2
}

function signerOf(file: string): Signer {
  return signerFromSeed(Buffer.from(readFileSync(file, 'utf8').trim(), 'base64'))
}

function publicKey(signer: Signer): string {
  return Buffer.from(signer.publicKey).toString('base64')
}

function whole(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new RangeError(`--${name} "${text}" is not a whole number`)
}
