import { crc32 } from 'node:zlib'
import { UnavailableError } from '../errors.ts'
import { concat, piecesOf, sizeOf, u32, type Pieces } from './bytes.ts'
import { diskError, systemDisk, type Disk, type DiskFile } from './disk.ts'
import { frameBytesMax, frameReadBytesMax, probeBytes } from './limits.ts'

/**
 * The append log on disk: what is in it was acknowledged, what was acknowledged is in it.
 *
 *   file   = "ARCTLOG\n" | version u32 = 1 | zero u32 | frame …
 *   frame  = payload length u32 | crc32 of length and payload u32 | payload
 *   payload = ( record length u32 | record ) …
 *
 * A frame is one group commit: whatever waits is written together and made durable by one fdatasync. The next frame is
 * written only after that, so a good frame behind a bad one proves that the bad one was once whole (see `log-scan.ts`).
 */
export class Log {
  /** Called at once when an append fails, before any promise rejects: nothing that was waiting is on disk. */
  onFailure: (error: unknown) => void = () => {}
  readonly #path: string
  #file: DiskFile
  #length: number
  #queue: Array<Waiting | Exchange> = []
  #pump: Promise<void> | null = null
  #probing: Promise<void> | null = null
  /** Bytes of a failed append may stand behind the durable end. */
  #dirty = false
  #closed = false

  /** Opens a log whose good part ends at `length`; what follows is cut off. */
  static async open(path: string, length: number, disk: Disk = systemDisk): Promise<Log> {
    const file = await disk.open(path)
    try {
      if ((await file.size()) > length) await file.truncate(length)
    } catch (error) {
      await file.close()
      throw error
    }
    return new Log(path, file, length)
  }

  /** Makes a new log with these records in it, whole or not at all. */
  static async create(
    path: string,
    records: readonly Pieces[],
    disk: Disk = systemDisk
  ): Promise<{ log: Log; offsets: number[] }> {
    const { bytes, offsets } = logFile(records)
    await disk.write(path, bytes)
    return { log: await Log.open(path, bytes.length, disk), offsets }
  }

  private constructor(path: string, file: DiskFile, length: number) {
    this.#path = path
    this.#file = file
    this.#length = length
  }

  /** Bytes that are durable. */
  get length(): number {
    return this.#length
  }

  /**
   * Calls `onDurable` with the offset of each record at once when all are durable, then resolves. UnavailableError when
   * the disk refuses.
   */
  append(records: readonly Pieces[], onDurable: (offsets: number[]) => void): Promise<void> {
    if (this.#closed) return Promise.reject(new UnavailableError('the agent is stopping; ask again when it is back'))
    const size = records.reduce((sum, record) => sum + sizeOf(piecesOf(record)) + 4, 0)
    if (size > frameReadBytesMax) return Promise.reject(new RangeError(`${size} bytes are too many for one frame`))
    return new Promise((resolve, reject) => {
      this.#queue.push({ records, size, onDurable, resolve, reject })
      this.#pump ??= this.#run()
    })
  }

  /** Writes some zeros behind the end and cuts them off again. UnavailableError when the disk does not take them. */
  probe(): Promise<void> {
    this.#probing ??= this.#probe().finally(() => (this.#probing = null))
    return this.#probing
  }

  /**
   * Goes on in another file: `make` is called once all that was asked for before is durable, and nothing else is written
   * until it has made that file, at the log's path. When it rejects, the log goes on as it was, and so does this.
   */
  exchange(make: Exchange['make']): Promise<void> {
    if (this.#closed) return Promise.reject(new UnavailableError('the agent is stopping; ask again when it is back'))
    return new Promise((resolve, reject) => {
      this.#queue.push({ make, resolve, reject })
      this.#pump ??= this.#run()
    })
  }

  /** A record that is durable. */
  read(offset: number, length: number): Uint8Array {
    const bytes = this.#file.read(length, offset)
    if (bytes.length !== length) throw new Error(`the log ends within a record at ${offset}`)
    return bytes
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#probing?.catch(() => {})
    await this.#pump
    await this.#file.close()
  }

  /** Alone at the end of the file: what is being written goes first, what comes waits (see `#run`). */
  async #probe(): Promise<void> {
    await this.#pump
    this.#dirty = true
    try {
      await this.#file.write(new Uint8Array(probeBytes), this.#length)
      await this.#file.sync()
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  async #run(): Promise<void> {
    // One turn of the loop, so that all that is asked for in the same turn shares the first fdatasync too.
    await (this.#probing?.catch(() => {}) ?? Promise.resolve())
    for (let next = this.#queue[0]; next != null; next = this.#queue[0]) {
      if ('make' in next) {
        this.#queue.shift()
        await this.#exchange(next).then(next.resolve, next.reject)
        continue
      }
      const group = takeGroup(this.#queue)
      const { bytes, offsets } = frame(group.flatMap(({ records }) => records))
      const start = this.#length
      try {
        await this.#write(bytes)
      } catch (error) {
        this.#fail(group, error)
        continue
      }
      let done = 0
      for (const { records, onDurable, resolve } of group) {
        onDurable(offsets.slice(done, done + records.length).map((offset) => start + offset))
        done += records.length
        resolve()
      }
    }
    this.#pump = null
  }

  async #exchange({ make }: Exchange): Promise<void> {
    await this.#cutOff()
    const { file, length } = await make(this.#length)
    const old = this.#file
    this.#file = file
    this.#length = length
    await old.close()
  }

  async #cutOff(): Promise<void> {
    if (!this.#dirty) return
    await this.#file.truncate(this.#length)
    this.#dirty = false
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#cutOff()
    this.#dirty = true
    await this.#file.write(bytes, this.#length)
    await this.#file.sync()
    this.#dirty = false
    this.#length += bytes.length
  }

  /** All that waits was made on top of what has just failed, so it fails with it. */
  #fail(group: Waiting[], error: unknown): void {
    const failure = diskError(error, this.#path)
    const all = [...group, ...this.#queue]
    this.#queue = []
    this.onFailure(failure)
    for (const { reject } of all) reject(failure)
  }
}

interface Exchange {
  make(length: number): Promise<{ file: DiskFile; length: number }>
  resolve(): void
  reject(error: unknown): void
}

interface Waiting {
  records: readonly Pieces[]
  size: number
  onDurable(offsets: number[]): void
  resolve(): void
  reject(error: unknown): void
}

export const LOG_MAGIC = Buffer.from('ARCTLOG\n')
export const LOG_VERSION = 1
export const FILE_HEADER: Uint8Array = concat([LOG_MAGIC, u32(LOG_VERSION), u32(0)])
export const FRAME_HEADER_BYTES = 8
const NO_FRAME_HEADER = new Uint8Array(FRAME_HEADER_BYTES)

export const frameChecksum = (payload: Uint8Array): number => crc32(payload, crc32(u32(payload.length)))

/** A whole log with these records, and where in it each begins. */
export function logFile(records: readonly Pieces[]): { bytes: Uint8Array; offsets: number[] } {
  const parts = [FILE_HEADER]
  const offsets: number[] = []
  let at = FILE_HEADER.length
  for (const batch of batches(records)) {
    const { bytes, offsets: inFrame } = frame(batch)
    for (const offset of inFrame) offsets.push(at + offset)
    at += bytes.length
    parts.push(bytes)
  }
  return { bytes: concat(parts), offsets }
}

/** The frame of some records, and where in it each record begins. In one piece from the first: all that is stored goes through here. */
function frame(records: readonly Pieces[]): { bytes: Uint8Array; offsets: number[] } {
  const offsets: number[] = []
  const parts: Uint8Array[] = [NO_FRAME_HEADER]
  let at = FRAME_HEADER_BYTES
  for (const record of records) {
    const size = sizeOf(piecesOf(record))
    offsets.push(at + 4)
    parts.push(u32(size), ...piecesOf(record))
    at += 4 + size
  }
  const bytes = concat(parts)
  const payload = bytes.subarray(FRAME_HEADER_BYTES)
  bytes.set(u32(payload.length))
  bytes.set(u32(frameChecksum(payload)), 4)
  return { bytes, offsets }
}

/** The first ones that wait, up to an exchange; the queue begins with one that is none. */
function takeGroup(queue: Array<Waiting | Exchange>): Waiting[] {
  let total = 0
  const group: Waiting[] = []
  for (const one of queue) {
    if ('make' in one) break
    total += one.size
    if (group.length > 0 && total > frameBytesMax) break
    group.push(one)
  }
  queue.splice(0, group.length)
  return group
}

function* batches(records: readonly Pieces[]): Generator<Pieces[]> {
  let batch: Pieces[] = []
  let size = 0
  for (const record of records) {
    const bytes = sizeOf(piecesOf(record)) + 4
    size += bytes
    if (batch.length > 0 && size > frameBytesMax) {
      yield batch
      batch = []
      size = bytes
    }
    batch.push(record)
  }
  if (batch.length > 0) yield batch
}
