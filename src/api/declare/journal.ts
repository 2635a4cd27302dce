import { readFile, rm } from 'node:fs/promises'
import { diskError, writeDurably } from '../../crdt/disk.ts'
import { InvalidRequestError } from '../../errors.ts'
import type { Change } from './mesh-file.ts'

/** An apply that waits for its confirmation. */
export interface Pending {
  version: 1
  /** Wall-clock ms at which it takes itself back. */
  expires_at: number
  /** The steps that were taken, or begun: what is not there need not be taken back. */
  changes: Change[]
}

/**
 * Keeps a {@link Pending} on disk, so that an agent that is killed, or restarted, or cut off, still takes it back. It
 * is written before the first step is taken.
 */
export class Journal {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  async read(): Promise<Pending | null> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw diskError(error, this.#path)
    }
    try {
      const pending = JSON.parse(text) as Pending
      if (pending.version === 1 && Number.isFinite(pending.expires_at) && Array.isArray(pending.changes)) return pending
    } catch {
      // Told below: what is damaged and what is of another version cannot be taken back.
    }
    throw new InvalidRequestError(
      `${this.#path} holds a change to be taken back, and cannot be read; compare "arctic export" with what you want, then remove it`
    )
  }

  async write(pending: Pending): Promise<void> {
    try {
      await writeDurably(this.#path, Buffer.from(JSON.stringify(pending)))
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  async clear(): Promise<void> {
    try {
      await rm(this.#path, { force: true })
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }
}
