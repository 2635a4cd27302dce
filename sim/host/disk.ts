import { concat, piecesOf } from '../../src/crdt/bytes.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { Clock } from '../../src/clock.ts'
import type { Disk, DiskFile } from '../../src/crdt/disk.ts'
import { diskSyncMaxMs, diskSyncMinMs, diskWriteMs } from '../limits.ts'
import type { SeededRandom } from '../random.ts'

/** A write that is in the page cache only: where, what, and what stood there. */
interface Unsynced {
  at: number
  bytes: Uint8Array
  before: Uint8Array
}

interface File {
  bytes: Buffer
  length: number
  unsynced: Unsynced[]
  /** Length at the last sync. */
  durableLength: number
}

/**
 * A host's disk, in memory. It keeps what was synced whatever happens; of what was not, a power failure leaves some first
 * part, and of the write at the edge a torn one. It can be full, slow, or lie about syncs, as faults say.
 */
export class MemoryDisk {
  readonly #random: SeededRandom
  readonly #files = new Map<string, File>()
  #locked = false
  full = false
  /** Factor on all latencies. */
  slowness = 1
  /** A disk that says "synced" and has not; only a mutation does this. */
  lies = false

  constructor(random: SeededRandom) {
    this.#random = random
  }

  /** Bytes of all files. */
  get bytes(): number {
    return this.#files.values().reduce((sum, { length }) => sum + length, 0)
  }

  /** The disk as one agent's life sees it: what it asks for after its end is never answered. */
  session(clock: Clock): Disk {
    const wait = (ms: number): Promise<void> => clock.sleep(ms * this.slowness)
    const waitSync = (): Promise<void> => wait(this.#random.between(diskSyncMinMs, diskSyncMaxMs))
    return {
      makeDirectory: () => wait(diskWriteMs),
      lock: async () => {
        await wait(diskWriteMs)
        if (this.#locked) throw new UnavailableError('another agent uses this state directory')
        this.#locked = true
        return { release: async () => void (this.#locked = false) }
      },
      read: async (path) => {
        await wait(diskWriteMs)
        const file = this.#files.get(path)
        return file == null ? null : new Uint8Array(file.bytes.subarray(0, file.length))
      },
      write: async (path, data) => {
        this.#refuseIfFull()
        await waitSync()
        this.#put(path, concat(piecesOf(data)))
      },
      rename: async (from, to) => {
        await waitSync()
        const file = this.#files.get(from)
        if (file == null) throw failure('ENOENT')
        this.#files.set(to, file)
        this.#files.delete(from)
      },
      copy: async (from, to) => {
        this.#refuseIfFull()
        await waitSync()
        const file = this.#files.get(from)
        if (file == null) throw failure('ENOENT')
        this.#put(to, file.bytes.subarray(0, file.length))
      },
      open: async (path) => {
        await wait(diskWriteMs)
        const file = this.#files.get(path)
        if (file == null) throw failure('ENOENT')
        return this.#handle(file, wait, waitSync)
      }
    }
  }

  /** The process is gone, the host is not: the page cache is written in its own time. */
  processEnded(): void {
    this.#locked = false
    for (const file of this.#files.values()) this.#sync(file)
  }

  /** The power is gone: what was not synced is left in part. */
  powerFailed(): void {
    this.#locked = false
    for (const file of this.#files.values()) this.#tear(file)
  }

  /** The files of another disk, as of now: a host restored from a backup. */
  restore(from: MemoryDisk): void {
    for (const [path, file] of from.#files) this.#put(path, file.bytes.subarray(0, file.length))
  }

  #put(path: string, data: Uint8Array): void {
    this.#files.set(path, { bytes: Buffer.from(data), length: data.length, unsynced: [], durableLength: data.length })
  }

  #handle(file: File, wait: (ms: number) => Promise<void>, waitSync: () => Promise<void>): DiskFile {
    return {
      size: async () => file.length,
      write: async (bytes, position) => {
        // A full disk takes what still fits in its last block. Room that comes while the writer is not running is too late.
        const wasFull = this.full
        if (wasFull) this.#write(file, bytes.subarray(0, this.#random.integer(0, bytes.length - 1)), position)
        else this.#write(file, bytes, position)
        await wait(diskWriteMs)
        if (wasFull || this.full) throw failure('ENOSPC')
      },
      read: (length, position) =>
        new Uint8Array(file.bytes.subarray(position, Math.min(file.length, position + length))),
      sync: async () => {
        const written = file.unsynced.length
        await waitSync()
        if (!this.lies) this.#sync(file, written)
      },
      truncate: async (length) => {
        await waitSync()
        file.length = Math.min(file.length, length)
        this.#sync(file)
      },
      close: async () => {}
    }
  }

  #write(file: File, bytes: Uint8Array, at: number): void {
    const end = at + bytes.length
    if (end > file.bytes.length) {
      const larger = Buffer.alloc(Math.max(end, file.bytes.length * 2, 4_096))
      file.bytes.copy(larger, 0, 0, file.length)
      file.bytes = larger
    }
    const before = Buffer.from(file.bytes.subarray(at, Math.max(at, Math.min(end, file.length))))
    file.unsynced.push({ at, bytes: Buffer.from(bytes), before })
    file.bytes.set(bytes, at)
    file.length = Math.max(file.length, end)
  }

  #sync(file: File, count = file.unsynced.length): void {
    for (const { at, bytes } of file.unsynced.splice(0, count)) {
      file.durableLength = Math.max(file.durableLength, at + bytes.length)
    }
    if (file.unsynced.length === 0) file.durableLength = file.length
  }

  #tear(file: File): void {
    const lost = file.unsynced.splice(0)
    for (const { at, before } of lost.toReversed()) file.bytes.set(before, at)
    file.length = file.durableLength
    // Some first writes made it, the next one in part.
    const whole = this.#random.integer(0, lost.length)
    for (const { at, bytes } of lost.slice(0, whole)) this.#write(file, bytes, at)
    const torn = lost[whole]
    if (torn != null) this.#write(file, torn.bytes.subarray(0, this.#random.integer(0, torn.bytes.length)), torn.at)
    file.unsynced = []
    file.durableLength = file.length
  }

  #refuseIfFull(): void {
    if (this.full) throw failure('ENOSPC')
  }
}

const failure = (code: string): Error => Object.assign(new Error(code), { code })
