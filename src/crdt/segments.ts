import { join } from 'node:path'
import type { Pieces } from './bytes.ts'
import type { Disk, DiskFile } from './disk.ts'
import { Log } from './log.ts'
import { scanLog, type Scan } from './log-scan.ts'

/**
 * Parts of the log that are full: `archive/000001` and so on, each a log of its own, never written again. An envelope is
 * named by its place in all of them one after the other, with the log in use behind them.
 */
export class Segments {
  readonly #directory: string
  readonly #disk: Disk
  readonly #all: Segment[] = []

  constructor(directory: string, disk: Disk) {
    this.#directory = directory
    this.#disk = disk
  }

  get count(): number {
    return this.#all.length
  }

  /** Bytes in all of them: where the log in use begins. */
  get bytes(): number {
    const last = this.#all.at(-1)
    return last == null ? 0 : last.start + last.length
  }

  /** Opens the first `count`; false when one of them is missing, or they have not `bytes` altogether. */
  async open(count: number, bytes: number): Promise<boolean> {
    for (let number = 1; number <= count; number++) {
      const file = await this.#disk.open(this.pathOf(number)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return null
        throw error
      })
      if (file == null) return false
      this.#all.push({ start: this.bytes, length: await file.size(), file })
    }
    return this.bytes === bytes
  }

  /** What is in one of them, from 1; null when it is missing. */
  scan(number: number, stamp: string): Promise<Scan | null> {
    return scanLog(this.pathOf(number), stamp, this.#disk)
  }

  /** Begins the first one, which grows until it is {@link added}, with these records. */
  async begin(records: readonly Pieces[]): Promise<{ log: Log; offsets: number[] }> {
    await this.#disk.makeDirectory(this.#directory)
    return Log.create(this.pathOf(1), records, this.#disk)
  }

  /** Puts a copy of a log away as the next one. It is one of them only once {@link added}. */
  async copy(path: string): Promise<DiskFile> {
    await this.#disk.makeDirectory(this.#directory)
    const to = this.pathOf(this.count + 1)
    await this.#disk.copy(path, to)
    return this.#disk.open(to)
  }

  added(file: DiskFile, length: number): void {
    this.#all.push({ start: this.bytes, length, file })
  }

  /** What stands at a place below `bytes`. */
  read(offset: number, length: number): Uint8Array {
    const segment = this.#all.find(({ start, length: size }) => offset < start + size)
    const bytes = segment?.file.read(length, offset - segment.start)
    if (bytes?.length !== length) throw new Error(`the archived history ends within a record at ${offset}`)
    return bytes
  }

  /** Of a cluster that was left: kept under names that are not looked for. */
  async putAside(stamp: string): Promise<void> {
    const { count } = this
    await this.close()
    for (let number = 1; number <= count; number++) {
      await this.#disk.rename(this.pathOf(number), `${this.pathOf(number)}.left-${stamp}`)
    }
  }

  async close(): Promise<void> {
    for (const { file } of this.#all.splice(0)) await file.close()
  }

  pathOf(number: number): string {
    return join(this.#directory, String(number).padStart(6, '0'))
  }
}

interface Segment {
  start: number
  length: number
  file: DiskFile
}
