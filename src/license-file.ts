import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from './clock.ts'
import { BadLicenseError, COMMUNITY, parseLicense, type License, type LicenseState } from './license.ts'
import { licenseBytesMax } from './limits.ts'
import type { Logger } from './log.ts'

export interface LicenseSettings {
  /** null: `license.json` in the state directory, if there is one. */
  file: string | null
  /** Of the issuer; raw Ed25519. */
  key: Uint8Array | null
  stateDir: string
}

/**
 * The licence of this agent, read at start and again at SIGHUP. Whatever is wrong with it is told by `license show`,
 * `status` and one line of the log; it stops neither the agent nor any traffic.
 */
export class LicenseFile {
  readonly #clock: Clock
  readonly #log: Logger
  #read: { license: License | null; file: string | null; problem: string | null } = COMMUNITY

  constructor(settings: LicenseSettings, { clock, log }: { clock: Clock; log: Logger }) {
    this.#clock = clock
    this.#log = log
    this.reload(settings)
  }

  /** As it is now: a licence that was good when it was read may have expired since. */
  get state(): LicenseState {
    const { license, file } = this.#read
    const expiresAt = license?.expires_at
    if (expiresAt == null || this.#clock.now() < Date.parse(expiresAt)) return this.#read
    const problem = `the licence ${file} expired at ${expiresAt}; put a new one there and send SIGHUP`
    return { license: null, file, problem }
  }

  reload(settings: LicenseSettings): void {
    this.#read = readFile(settings)
    const { license, file, problem } = this.state
    if (problem != null) this.#log.warn({ file, problem }, 'the licence does not count; this is the community edition')
    else if (license != null) {
      const { id, holder, edition, expires_at } = license
      this.#log.info({ file, id, holder, edition, expires_at }, 'the licence is good')
    }
  }
}

function readFile({ file: named, key, stateDir }: LicenseSettings): LicenseState {
  const file = named ?? join(stateDir, 'license.json')
  try {
    if (statSync(file).size > licenseBytesMax) {
      throw new BadLicenseError(`has more than ${licenseBytesMax} bytes; get the right file`)
    }
    const text = readFileSync(file, 'utf8')
    if (key == null) {
      throw new BadLicenseError("cannot be verified without its issuer's public key; give that with --license-key")
    }
    return { license: parseLicense(text, key), file, problem: null }
  } catch (error) {
    if (error instanceof BadLicenseError)
      return { license: null, file, problem: `the licence ${file} ${error.message}` }
    const { code } = error as NodeJS.ErrnoException
    if (code == null) throw error
    if (code === 'ENOENT' && named == null) return COMMUNITY
    return { license: null, file, problem: `the licence ${file} cannot be read (${code}); mend that and send SIGHUP` }
  }
}
