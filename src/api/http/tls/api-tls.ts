import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { Clock, Timer } from '../../../clock.ts'
import { diskError, writeDurably } from '../../../crdt/disk.ts'
import { InvalidRequestError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import { certificateCheckMs, certificateWarnMs } from '../limits.ts'
import { makeCertificate } from './certificate.ts'

/** PEM, as node:tls takes it. */
export interface KeyPair {
  key: string
  cert: string
}

/** Where the certificate is: the operator's two files, or one in the state directory that is made when it is missing. */
export type CertificateSource =
  | { kind: 'files'; cert: string; key: string }
  | { kind: 'own'; stateDir: string; names: readonly string[] }

/**
 * The certificate of the API beyond loopback. Its files are looked at every `certificateCheckMs` and on SIGHUP; a new
 * pair is taken over for new connections, one that does not fit (only one of two files is there yet) is not.
 */
export class ApiTls {
  readonly #source: CertificateSource
  readonly #clock: Clock
  readonly #log: Logger
  readonly #listeners = new Set<(pair: KeyPair) => void>()
  #pair: KeyPair
  #fingerprint: string
  #seen: string
  #complained = ''
  readonly #timer: Timer

  /** Rejects with InvalidRequestError when the files are not a certificate and its key, UnavailableError by the disk. */
  static async open(source: CertificateSource, { clock, log }: { clock: Clock; log: Logger }): Promise<ApiTls> {
    if (source.kind === 'own') await makeUnlessThere(source, clock)
    // What cannot be looked at is told by the reading.
    const seen = await signature(source).catch(() => '')
    return new ApiTls(source, await load(source), seen, { clock, log })
  }

  private constructor(
    source: CertificateSource,
    pair: KeyPair,
    seen: string,
    { clock, log }: { clock: Clock; log: Logger }
  ) {
    this.#source = source
    this.#clock = clock
    this.#log = log
    this.#pair = pair
    this.#seen = seen
    this.#fingerprint = this.#describe(pair)
    this.#timer = clock.every(certificateCheckMs, () => void this.#check())
  }

  get pair(): KeyPair {
    return this.#pair
  }

  /** SHA-256 of the certificate, `AB:CD:…`, as `openssl x509 -fingerprint -sha256` shows it. */
  get fingerprint(): string {
    return this.#fingerprint
  }

  onChange(listener: (pair: KeyPair) => void): void {
    this.#listeners.add(listener)
  }

  /** Reads the files again. Never rejects: the old certificate stays in force when the new one is not usable. */
  async reload(): Promise<void> {
    try {
      const seen = await signature(this.#source)
      const pair = await load(this.#source)
      this.#seen = seen
      this.#complained = ''
      if (pair.cert === this.#pair.cert && pair.key === this.#pair.key) return
      this.#pair = pair
      this.#fingerprint = this.#describe(pair)
      for (const listener of this.#listeners) listener(pair)
      this.#log.info({ fingerprint: this.#fingerprint }, 'the API has a new certificate')
    } catch (error) {
      const why = (error as Error).message
      if (why !== this.#complained) this.#log.warn({ why }, 'the new API certificate is not usable; the old one stays')
      this.#complained = why
    }
  }

  stop(): void {
    this.#timer.cancel()
    this.#listeners.clear()
  }

  async #check(): Promise<void> {
    const seen = await signature(this.#source).catch(() => this.#seen)
    if (seen !== this.#seen) await this.reload()
  }

  #describe({ cert }: KeyPair): string {
    const { fingerprint256, validTo } = new X509Certificate(cert)
    const left = Date.parse(validTo) - this.#clock.now()
    if (left < certificateWarnMs) {
      this.#log.warn(
        { valid_to: validTo },
        left < 0 ? 'the API certificate has expired' : 'the API certificate expires soon'
      )
    }
    return fingerprint256
  }
}

const ownPath = (stateDir: string): string => join(stateDir, 'api-tls.pem')

const pathsOf = (source: CertificateSource): string[] =>
  source.kind === 'own' ? [ownPath(source.stateDir)] : [source.cert, source.key]

/** Differs after any replacement of a file, by rename or by a link that leads elsewhere now. */
async function signature(source: CertificateSource): Promise<string> {
  const stats = await Promise.all(pathsOf(source).map((path) => stat(path)))
  return stats.map(({ dev, ino, size, mtimeMs }) => `${dev} ${ino} ${size} ${mtimeMs}`).join(', ')
}

async function makeUnlessThere({ stateDir, names }: CertificateSource & { kind: 'own' }, clock: Clock): Promise<void> {
  const path = ownPath(stateDir)
  try {
    await stat(path)
    return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw diskError(error, path)
  }
  const { key, cert } = await makeCertificate(names, clock.now())
  try {
    // One file, mode 0600: certificate and key are both there, or neither.
    await writeDurably(path, Buffer.from(`${key}${cert}`))
  } catch (error) {
    throw diskError(error, path)
  }
}

async function load(source: CertificateSource): Promise<KeyPair> {
  const paths = pathsOf(source)
  const where = paths.join(' and ')
  let texts: string[]
  try {
    texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')))
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    throw new InvalidRequestError(
      `the API certificate ${path} cannot be read (${code}); check --api-cert and --api-key`
    )
  }
  const cert = texts[0]!
  const key = texts.at(-1)!
  const next =
    source.kind === 'own' ? 'move it away, and the next start makes a new one' : 'check --api-cert and --api-key'
  let fits: boolean
  try {
    createSecureContext({ cert, key })
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  } catch (error) {
    throw new InvalidRequestError(`${where}: not a PEM certificate and its key (${(error as Error).message}); ${next}`)
  }
  if (!fits) throw new InvalidRequestError(`${where}: the key is not this certificate's; ${next}`)
  return { cert, key }
}
