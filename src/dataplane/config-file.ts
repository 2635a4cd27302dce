import { readFile, rename, writeFile } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'
import { configBurst, configEveryMs, largeConfigEveryMs } from './limits.ts'

/**
 * Replaces a JSON file as a whole, readable by its owner only: after this process was killed there is the old one or the new
 * one. It is for as long as the host runs, as what it tells of is in the kernel, so nothing waits for the disk.
 */
export async function writeConfig(path: string, text: string): Promise<void> {
  const next = `${path}.next`
  await writeFile(next, text, { mode: 0o600 })
  await rename(next, path)
}

/** The file's object, or null when there is none or it is damaged: it can be computed again. */
export async function readConfig(path: string): Promise<Record<string, unknown> | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    return typeof value === 'object' && value != null ? (value as Record<string, unknown>) : null
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/**
 * A JSON file that is told anew at every change. It is written at once for a few changes; while they go on, and when nobody
 * reads it from top to bottom any more, now and then. Then it holds the newest of what it was told since.
 */
export class ConfigFile {
  readonly #path: string
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  #text: (() => string) | null = null
  #isLarge = false
  #writtenAt = -Infinity
  #paidUntil = -Infinity
  #timer: Timer | null = null
  #writing: Promise<void> = Promise.resolve()

  constructor(path: string, clock: Clock, onError: (error: unknown) => void) {
    this.#path = path
    this.#clock = clock
    this.#onError = onError
  }

  read = (): Promise<Record<string, unknown> | null> => readConfig(this.#path)

  /** Resolves when it is written, or when that can wait. */
  async write(text: () => string, { atOnce = false } = {}): Promise<void> {
    this.#text = text
    const wait = atOnce ? 0 : this.#waitMs()
    if (wait <= 0) return this.flush()
    this.#timer ??= this.#clock.after(wait, () => void this.flush())
  }

  #waitMs(): number {
    const now = this.#clock.monotonic()
    if (this.#isLarge) return this.#writtenAt + largeConfigEveryMs - now
    // Each write pays for `configEveryMs`, and so many of them may be ahead of time.
    return this.#paidUntil - configBurst * configEveryMs - now + configEveryMs
  }

  /** What waits is written now. */
  flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = null
    this.#writing = this.#writing.then(() => this.#writeNewest())
    return this.#writing
  }

  async #writeNewest(): Promise<void> {
    if (this.#text == null) return
    const text = this.#text()
    this.#text = null
    this.#isLarge = text.length > largeConfigLength
    this.#writtenAt = this.#clock.monotonic()
    this.#paidUntil = Math.max(this.#paidUntil, this.#writtenAt) + configEveryMs
    await writeConfig(this.#path, text).catch(this.#onError)
  }
}

/** Above this nobody reads it from top to bottom, characters. */
export const largeConfigLength = 256 * 1024
