import { dirname, join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { UnavailableError } from '../errors.ts'
import { concat, u8 } from './bytes.ts'
import { diskError, systemDisk, type Disk } from './disk.ts'
import { nextIncarnation } from './incarnation.ts'
import type { Lock } from './lock.ts'
import { Log } from './log.ts'
import { scanLog, type Scan } from './log-scan.ts'
import type { Damage } from './state.ts'

/**
 * The directory `<state dir>/cluster`: one agent at a time, a number for each start, and the log. The first record of
 * the log is the genesis, all others are envelopes; one byte in front says which.
 */
export class Storage {
  incarnation: number
  /** What was found; null when this peer is in no cluster. */
  readonly found: Found | null
  readonly damage: Damage | null
  readonly #disk: Disk
  readonly #path: string
  readonly #lock: Lock
  /** One after the other. */
  #renewing: Promise<void> = Promise.resolve()
  #log: Log | null

  /** UnavailableError when the directory cannot be used, is in use, or is of a newer format. */
  static async open(stateDir: string, deps: StorageDeps): Promise<Storage> {
    const disk = deps.disk ?? systemDisk
    const directory = join(stateDir, 'cluster')
    try {
      await disk.makeDirectory(directory)
      const lock = await disk.lock(join(directory, 'lock'), deps.random)
      try {
        const path = join(directory, 'log')
        const stamp = new Date(deps.clock.now()).toISOString().replaceAll(/[-:.]/g, '')
        const scan = await scanLog(path, stamp, disk)
        const found = scan == null ? null : readRecords(path, scan)
        const incarnation = await nextIncarnation(join(directory, 'incarnation'), disk)
        const log = scan == null ? null : await Log.open(path, scan.length, disk)
        report(deps.log, path, scan)
        return new Storage(disk, path, lock, log, found, scan?.damage ?? null, incarnation)
      } catch (error) {
        await lock.release()
        throw error
      }
    } catch (error) {
      throw diskError(error, directory)
    }
  }

  private constructor(
    disk: Disk,
    path: string,
    lock: Lock,
    log: Log | null,
    found: Found | null,
    damage: Damage | null,
    incarnation: number
  ) {
    this.#disk = disk
    this.#path = path
    this.#lock = lock
    this.#log = log
    this.found = found
    this.damage = damage
    this.incarnation = incarnation
  }

  /** The log of the cluster that this peer is in. */
  get log(): Log {
    if (this.#log == null) throw new Error('there is no log before there is a cluster')
    return this.#log
  }

  /** Begins the log with a genesis and what is known; the offsets are the envelopes'. Whole or not at all. */
  async create(genesis: Uint8Array, envelopes: Uint8Array[]): Promise<number[]> {
    try {
      const records = [concat([u8(GENESIS), genesis]), ...envelopes.map(envelopeRecord)]
      const { log, offsets } = await Log.create(this.#path, records, this.#disk)
      this.#log = log
      return offsets.slice(1).map((offset) => offset + 1)
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  /** As {@link Log.append}; the offsets are the envelopes'. */
  append(envelopes: Uint8Array[], onDurable: (offsets: number[]) => void): Promise<void> {
    return this.log.append(envelopes.map(envelopeRecord), (offsets) => onDurable(offsets.map((offset) => offset + 1)))
  }

  /** Resolves when the disk takes data again. UnavailableError otherwise. */
  probe(): Promise<void> {
    return this.log.probe()
  }

  /** Takes a new number for what this peer writes from now on. UnavailableError when the disk refuses. */
  renewIncarnation(): Promise<void> {
    const path = join(dirname(this.#path), 'incarnation')
    const renew = async (): Promise<void> => {
      try {
        this.incarnation = await nextIncarnation(path, this.#disk)
      } catch (error) {
        throw diskError(error, path)
      }
    }
    return (this.#renewing = this.#renewing.then(renew, renew))
  }

  /** Puts the log of a cluster that was left aside, where it can still be read; returns its path. */
  async archive(stamp: string): Promise<string> {
    const keptAs = `${this.#path}.left-${stamp}`
    try {
      await this.#log?.close()
      this.#log = null
      if (this.#disk.rename == null) throw new UnavailableError('this disk cannot put a cluster aside')
      await this.#disk.rename(this.#path, keptAs)
    } catch (error) {
      throw diskError(error, this.#path)
    }
    await this.renewIncarnation()
    return keptAs
  }

  async close(): Promise<void> {
    await this.#log?.close()
    await this.#lock.release()
  }
}

interface StorageDeps {
  clock: Clock
  random: Random
  log: Logger
  /** Left out: this host's. */
  disk?: Disk
}

export interface Found {
  genesis: Uint8Array
  envelopes: Array<{ offset: number; bytes: Uint8Array }>
  /** Behind a damaged place: to be verified. */
  salvaged: Uint8Array[]
}

const GENESIS = 1
const ENVELOPE = 2

const envelopeRecord = (bytes: Uint8Array): Uint8Array => concat([u8(ENVELOPE), bytes])

function readRecords(path: string, scan: Scan): Found {
  const [first, ...rest] = scan.records
  if (first?.bytes[0] !== GENESIS) {
    throw new UnavailableError(
      `${path} is damaged in its first record, so the rest cannot be read; restore it, or move the directory away and join again`,
      { path }
    )
  }
  return {
    genesis: first.bytes.subarray(1),
    envelopes: rest
      .filter(({ bytes }) => bytes[0] === ENVELOPE)
      .map(({ offset, bytes }) => ({ offset: offset + 1, bytes: bytes.subarray(1) })),
    salvaged: scan.salvaged.filter((bytes) => bytes[0] === ENVELOPE).map((bytes) => bytes.subarray(1))
  }
}

function report(log: Logger, path: string, scan: Scan | null): void {
  if (scan == null) return
  if (scan.damage != null) log.error({ path, kept_as: scan.damage.keptAs }, scan.damage.message)
  else if (scan.tornBytes > 0) {
    log.warn({ path, bytes: scan.tornBytes }, 'an unfinished write at the end of the log was cut off')
  }
}
