import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { ConflictError } from '../errors.ts'
import type { Random } from '../random.ts'
import { parseIdentity, readIdentity, replaceIdentity, type IdentityFile } from './identity-file.ts'
import { x25519, type KeyPair } from './identity.ts'

/** Static keys of both data planes: Noise's of Pegasus, WireGuard's of Tempest. */
export interface DataKeys {
  pegasus: KeyPair
  tempest: KeyPair
}

/**
 * This peer's data-plane keys on disk. They change in two steps, each one atomic replacement of the identity file: new
 * ones with those before kept beside them, then those before erased. A kill between any two instructions leaves one of
 * these states, and each is a working one.
 *
 * How old they are is counted by the monotonic clock, and across restarts by the wall clock, which counts for nothing
 * when it went backward. So a clock that jumps makes keys look too old once at most, and never younger.
 */
export class KeyRing {
  readonly #stateDir: string
  readonly #path: string
  readonly #clock: Clock
  readonly #random: Random
  #file: IdentityFile
  #current: DataKeys
  #before: DataKeys | null
  /** Age of the keys at that monotonic time. */
  #usedMs: number
  #since: number
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(stateDir: string, path: string, file: IdentityFile, { clock, random }: KeyRingParts) {
    this.#stateDir = stateDir
    this.#path = path
    this.#clock = clock
    this.#random = random
    this.#file = file
    this.#current = pairs(file)
    this.#before = file.keys_before == null ? null : pairs(file.keys_before)
    const away = Math.max(0, clock.now() - (file.keys_seen_at ?? clock.now()))
    this.#usedMs = (file.keys_used_ms ?? 0) + away
    this.#since = clock.monotonic()
  }

  /** The identity has been made. Errors as `openIdentity`. */
  static async open(stateDir: string, parts: KeyRingParts): Promise<KeyRing> {
    const path = join(stateDir, 'identity')
    const text = await readIdentity(path)
    const ring = new KeyRing(stateDir, path, parseIdentity(path, text ?? ''), parts)
    // Of an identity that nobody has counted the age of, it counts from now on.
    if (ring.#file.keys_made_at == null) await ring.#replace({ ...ring.#file, keys_made_at: parts.clock.now() })
    return ring
  }

  get current(): DataKeys {
    return this.#current
  }

  /** Handshakes with these are good as well; null when the last change is over. */
  get before(): DataKeys | null {
    return this.#before
  }

  /** Wall-clock ms. */
  get madeAt(): number {
    return this.#file.keys_made_at ?? 0
  }

  get ageMs(): number {
    return this.#usedMs + this.#clock.monotonic() - this.#since
  }

  /** ConflictError while a change is under way, UnavailableError when the disk refuses: then all is as before. */
  rotate(): Promise<void> {
    return this.#alone(async () => {
      if (this.#before != null) {
        throw new ConflictError(409, 'the keys were changed lately, and those before are still good; try again later')
      }
      const key = (): string => Buffer.from(this.#random.bytes(32)).toString('base64')
      const { pegasus_key, tempest_key } = this.#file
      await this.#replace(
        {
          ...this.#file,
          pegasus_key: key(),
          tempest_key: key(),
          keys_before: { pegasus_key, tempest_key },
          keys_made_at: this.#clock.now()
        },
        0
      )
    })
  }

  /** Ends a change: the keys before are gone for good. UnavailableError when the disk refuses. */
  erase(): Promise<void> {
    return this.#alone(async () => {
      const { keys_before: _, ...file } = this.#file
      await this.#replace(file)
    })
  }

  /** Writes down how old the keys are. UnavailableError when the disk refuses. */
  note(): Promise<void> {
    return this.#alone(() => this.#replace(this.#file))
  }

  /** Every secret that this peer holds, so that none of them gets into what it says. */
  secrets(): string[] {
    return [this.#current, this.#before].flatMap((keys) =>
      keys == null ? [] : [keys.pegasus.privateKey, keys.tempest.privateKey]
    )
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(work)
    this.#writing = done.catch(() => {})
    return done
  }

  async #replace(file: IdentityFile, usedMs = this.ageMs): Promise<void> {
    const next = { ...file, keys_used_ms: Math.round(usedMs), keys_seen_at: this.#clock.now() }
    await replaceIdentity(this.#stateDir, this.#path, next)
    this.#file = next
    this.#current = pairs(next)
    this.#before = next.keys_before == null ? null : pairs(next.keys_before)
    this.#usedMs = usedMs
    this.#since = this.#clock.monotonic()
  }
}

interface KeyRingParts {
  clock: Clock
  random: Random
}

const pairs = ({ pegasus_key, tempest_key }: Pick<IdentityFile, 'pegasus_key' | 'tempest_key'>): DataKeys => ({
  pegasus: x25519(pegasus_key),
  tempest: x25519(tempest_key)
})
