import { dirname, join } from 'node:path'
import { append } from '../append.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { copyOf, equalBytes, MalformedError } from './bytes.ts'
import { diskError, systemDisk, type Disk, type DiskFile } from './disk.ts'
import { nextIncarnation } from './incarnation.ts'
import type { Lock } from './lock.ts'
import { Log, logFile } from './log.ts'
import {
  baseRecord,
  envelopeRecord,
  epochRecord,
  genesisRecord,
  inside,
  readRecords,
  type Base,
  type Beginning,
  type Found
} from './log-records.ts'
import { scanLog, type Scan } from './log-scan.ts'
import { reported, type OpenScratch } from './scratch.ts'
import { Segments } from './segments.ts'
import { decodeSnapshot, digestOf } from './snapshot.ts'
import type { Damage } from './state.ts'

/**
 * The directory `<state dir>/cluster`: one agent at a time, a number for each start, and the log. The first record of
 * the log is the genesis, all others are envelopes; one byte in front says which. What has come together since the last
 * snapshot is put away as a segment: a start reads the snapshot and the log in use, the segments are there for whoever
 * asks for the history.
 *
 *   log = genesis | base, when there are segments | envelope …       base = segments u32 | bytes in them u64
 *       | genesis | epoch | envelope …                               epoch = SHA-256 32
 *
 * A snapshot is taken in this order, each step whole or not at all: copy the log to the next segment, replace the
 * snapshot, replace the log by one that names one segment more. Whatever comes between, the log says what counts: a
 * segment or a snapshot that it does not name is not looked at.
 *
 * A log with an epoch goes on behind a snapshot that was taken over: the snapshot has that digest, and the first segment
 * grows beside the log until all that the snapshot was made of stands in it. A log with a base of one segment ends that.
 */
export class Storage {
  incarnation: number
  /** What was found; null when this peer is in no cluster. */
  found: Found | null
  damage: Damage | null
  /** Room for what memory need not hold. */
  readonly scratch: OpenScratch
  readonly #segments: Segments
  readonly #stamp: string
  readonly #clock: Clock
  readonly #report: Logger
  readonly #disk: Disk
  readonly #path: string
  readonly #lock: Lock
  /** One after the other. */
  #renewing: Promise<void> = Promise.resolve()
  #log: Log | null
  /** The first segment while it grows. */
  #behind: Log | null = null
  /** Of the cluster that this peer is in. */
  #genesis: Uint8Array | null

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
        const segments = new Segments(join(directory, 'archive'), disk)
        const incarnation = await nextIncarnation(join(directory, 'incarnation'), disk, deps.clock)
        const log = scan == null ? null : await Log.open(path, scan.length, disk)
        report(deps.log, path, scan)
        const damage = scan?.damage ?? null
        const storage = new Storage({
          disk,
          path,
          lock,
          log,
          found,
          damage,
          incarnation,
          segments,
          stamp,
          clock: deps.clock,
          report: deps.log,
          scratch: reported(() => disk.scratch?.(directory) ?? null, { directory, fail: () => {}, ...deps })
        })
        await storage.#openSegments(directory)
        return storage
      } catch (error) {
        await lock.release()
        throw error
      }
    } catch (error) {
      throw diskError(error, directory)
    }
  }

  private constructor(parts: {
    disk: Disk
    path: string
    lock: Lock
    log: Log | null
    found: Found | null
    damage: Damage | null
    incarnation: number
    segments: Segments
    stamp: string
    clock: Clock
    report: Logger
    scratch: OpenScratch
  }) {
    this.#disk = parts.disk
    this.#path = parts.path
    this.#lock = parts.lock
    this.#log = parts.log
    this.found = parts.found
    // A copy: what was read is one large piece of memory, which nobody needs for long.
    this.#genesis = parts.found == null ? null : copyOf(parts.found.genesis)
    this.damage = parts.damage
    this.incarnation = parts.incarnation
    this.#segments = parts.segments
    this.#stamp = parts.stamp
    this.#clock = parts.clock
    this.#report = parts.report
    this.scratch = parts.scratch
  }

  /** Opens what the log names, and reads the snapshot, if it is one of this very log. */
  async #openSegments(directory: string): Promise<void> {
    const { found } = this
    if (found?.epoch != null) await this.#openBehind(found, found.epoch, directory)
    if (found == null || found.base.segments === 0) return
    const { segments, bytes } = found.base
    if (!(await this.#segments.open(segments, bytes))) return
    for (const envelope of found.envelopes) envelope.offset += bytes
    const data = await this.#disk.read(join(directory, 'snapshot'))
    if (data == null) return
    try {
      const snapshot = decodeSnapshot(data)
      const { head } = snapshot
      if (head.segments === segments && head.bytes === bytes) found.snapshot = snapshot
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#report.warn({ reason: error.message }, 'the snapshot is not used; the whole history is read instead')
    }
  }

  /** What has come of the history behind a snapshot that was taken over, and that snapshot. */
  async #openBehind(found: Found, epoch: string, directory: string): Promise<void> {
    const path = this.#segments.pathOf(1)
    const scan = await this.#segments.scan(1, this.#stamp)
    if (scan != null) {
      found.behind = readRecords(path, scan).envelopes
      this.#behind = await Log.open(path, scan.length, this.#disk)
      report(this.#report, path, scan)
    }
    const data = await this.#disk.read(join(directory, 'snapshot'))
    try {
      if (scan == null) throw new MalformedError('what was there of the history behind it is missing')
      if (data == null || digestOf(data) !== epoch) throw new MalformedError('it is missing or damaged')
      found.snapshot = decodeSnapshot(data)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#report.error({ reason: error.message }, 'the snapshot that was taken over is not used')
    }
  }

  /**
   * All envelopes from the first, for who cannot use the snapshot. When a segment is missing or damaged, what is good up
   * to there becomes the log, and what can be read behind it is handed back as salvaged.
   */
  async history(): Promise<Pick<Found, 'envelopes' | 'salvaged'>> {
    const found = this.found as Found
    const { segments, bytes } = found.base
    if (found.epoch != null) return this.#withoutSnapshot(found)
    if (segments === 0) return found
    const envelopes: Found['envelopes'] = []
    const salvaged: Uint8Array[] = []
    let hurt: Damage | null = null
    let start = 0
    for (let number = 1; number <= segments; number++) {
      const path = this.#segments.pathOf(number)
      const scan = await this.#segments.scan(number, this.#stamp)
      const read = scan == null ? null : readRecords(path, scan)
      for (const { offset, bytes: envelope } of read?.envelopes ?? []) {
        if (hurt == null) envelopes.push({ offset: start + offset, bytes: envelope })
        else salvaged.push(envelope)
      }
      append(salvaged, read?.salvaged ?? [])
      start += scan?.length ?? 0
      if (scan == null || scan.damage != null || scan.tornBytes > 0) hurt ??= scan?.damage ?? lostSegment(path, scan)
    }
    if (hurt == null && start !== bytes) hurt = lostSegment(this.#segments.pathOf(segments), null)
    if (hurt == null) return { envelopes: [...envelopes, ...found.envelopes], salvaged: found.salvaged }
    for (const { bytes: envelope } of found.envelopes) salvaged.push(envelope)
    append(salvaged, found.salvaged)
    await this.#disk.copy(this.#path, `${this.#path}.damaged-${this.#stamp}`)
    await this.#segments.close()
    await this.#log?.close()
    const offsets = await this.create(
      found.genesis,
      envelopes.map((envelope) => envelope.bytes)
    )
    this.damage ??= hurt
    this.#report.error({ kept_as: hurt.keptAs }, hurt.message)
    return { envelopes: envelopes.map((envelope, i) => ({ ...envelope, offset: offsets[i] as number })), salvaged }
  }

  /** The snapshot that the log goes on behind is lost: what has come behind it is the log, and what came after, salvaged. */
  async #withoutSnapshot(found: Found): Promise<Pick<Found, 'envelopes' | 'salvaged'>> {
    const { behind, genesis } = found
    const message = `the snapshot that ${this.#path} goes on behind is missing or damaged; what is missing comes back from other peers; check the disk`
    const keptAs = `${this.#path}.damaged-${this.#stamp}`
    await this.#disk.copy(this.#path, keptAs)
    await this.#behind?.close()
    this.#behind = null
    await this.#log?.close()
    const bytes = behind.map((envelope) => envelope.bytes)
    const offsets = await this.create(genesis, bytes)
    this.damage ??= { message, keptAs }
    this.#report.error({ kept_as: keptAs }, message)
    const salvaged = [...found.envelopes.map((envelope) => envelope.bytes), ...found.salvaged]
    return { envelopes: bytes.map((one, i) => ({ offset: offsets[i] as number, bytes: one })), salvaged }
  }

  /**
   * Begins the log behind a snapshot that was taken over, with `envelopes` that it does not cover, and the segment for what
   * it was made of, with `behind` of it. Returns where they stand. Whole or not at all.
   */
  async createBehind(parts: {
    genesis: Uint8Array
    snapshot: Uint8Array
    behind: Uint8Array[]
    envelopes: Uint8Array[]
  }): Promise<{ behind: number[]; envelopes: number[] }> {
    const { genesis, snapshot, behind, envelopes } = parts
    try {
      await this.#disk.write(this.#snapshotPath, snapshot)
      const first = await this.#segments.begin([genesisRecord(genesis), ...behind.map(envelopeRecord)])
      const records = [genesisRecord(genesis), epochRecord(digestOf(snapshot)), ...envelopes.map(envelopeRecord)]
      const { log, offsets } = await Log.create(this.#path, records, this.#disk).catch(async (error: unknown) => {
        await first.log.close()
        throw error
      })
      this.#behind = first.log
      this.#log = log
      this.#genesis = copyOf(genesis)
      return { behind: first.offsets.slice(1).map(inside), envelopes: offsets.slice(2).map(inside) }
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  /** The snapshot that was taken over; null when it is not there any more. */
  readSnapshot(): Promise<Uint8Array | null> {
    return this.#disk.read(this.#snapshotPath)
  }

  /** Of the history behind the snapshot that was taken over. Resolves with the places once durable. UnavailableError. */
  async appendBehind(envelopes: Uint8Array[]): Promise<number[]> {
    if (this.#behind == null) throw new Error('there is no snapshot that was taken over')
    let places: number[] = []
    await this.#behind.append(envelopes.map(envelopeRecord), (offsets) => (places = offsets.map(inside)))
    return places
  }

  /** The envelope at a place that {@link appendBehind} has named, which stays its place. */
  readBehind(offset: number, length: number): Uint8Array {
    return this.#behind == null ? this.read(offset, length) : this.#behind.read(offset, length)
  }

  /**
   * Ends what {@link createBehind} began: the segment is whole, and the log goes on behind it with the envelopes that
   * `tail` names, which is called once all that was appended before is durable. Returns where they stand. When it
   * rejects, nothing has changed.
   */
  async settleBehind(tail: () => Uint8Array[]): Promise<number[]> {
    const [genesis, behind] = [this.#genesis, this.#behind]
    if (genesis == null || behind == null) throw new Error('there is no snapshot that was taken over')
    const base = { segments: 1, bytes: behind.length }
    const places = await this.#goOn(genesis, async () => ({
      segment: await this.#disk.open(this.#segments.pathOf(1)),
      length: base.bytes,
      begin: async () => ({ base, envelopes: tail() })
    }))
    this.#behind = null
    await behind.close()
    return places
  }

  get #snapshotPath(): string {
    return join(dirname(this.#path), 'snapshot')
  }

  /**
   * Puts the log away as a segment and begins a new one behind the snapshot that `encode` makes, which is called once all
   * that was appended before is durable. When it rejects, nothing has changed.
   */
  async putAway(encode: (base: Base) => Uint8Array[]): Promise<void> {
    const genesis = this.#genesis
    if (genesis == null) throw new Error('there is no log before there is a cluster')
    await this.#goOn(genesis, async (length) => {
      const segment = await this.#segments.copy(this.#path)
      const base = { segments: this.#segments.count + 1, bytes: this.#segments.bytes + length }
      const begin = async (): Promise<Beginning> => {
        if ((await segment.size()) !== length) throw new Error('the copy of the log has another length')
        await this.#disk.write(this.#snapshotPath, encode(base))
        return { base, envelopes: [] }
      }
      return { segment, length, begin }
    })
  }

  /**
   * Begins a new log behind one more segment. `next` is called once all that was appended before is durable, with the length
   * of the log. Returns where the envelopes stand with which the new one begins. When it rejects, nothing has changed.
   */
  async #goOn(
    genesis: Uint8Array,
    next: (length: number) => Promise<{ segment: DiskFile; length: number; begin: () => Promise<Beginning> }>
  ): Promise<number[]> {
    let places: number[] = []
    try {
      await this.log.exchange(async (before) => {
        const { segment, length, begin } = await next(before)
        try {
          const { base, envelopes } = await begin()
          const { bytes, offsets } = logFile([
            genesisRecord(genesis),
            baseRecord(base),
            ...envelopes.map(envelopeRecord)
          ])
          const file = await this.#replaceLog(bytes)
          this.#segments.added(segment, length)
          places = offsets.slice(2).map((offset) => base.bytes + inside(offset))
          return { file, length: bytes.length }
        } catch (error) {
          await segment.close()
          throw error
        }
      })
      return places
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  /** Opened before it gets its name: once it has it, nothing may fail any more. */
  async #replaceLog(bytes: Uint8Array): Promise<DiskFile> {
    const next = `${this.#path}.next`
    await this.#disk.write(next, bytes)
    const file = await this.#disk.open(next)
    try {
      await this.#disk.rename(next, this.#path)
    } catch (error) {
      // A renaming that failed may have happened all the same; only what stands there now says so.
      const now = await this.#disk.read(this.#path).catch(() => null)
      if (now == null || !equalBytes(now, bytes)) {
        await file.close()
        throw error
      }
    }
    return file
  }

  /** What was found has been taken over and is needed no more. */
  loaded(): void {
    this.found = null
  }

  /** The envelope at a place that {@link append} has named. */
  read(offset: number, length: number): Uint8Array {
    const { bytes } = this.#segments
    return offset < bytes ? this.#segments.read(offset, length) : this.log.read(offset - bytes, length)
  }

  /** The log of the cluster that this peer is in. */
  get log(): Log {
    if (this.#log == null) throw new Error('there is no log before there is a cluster')
    return this.#log
  }

  /** Begins the log with a genesis and what is known; the offsets are the envelopes'. Whole or not at all. */
  async create(genesis: Uint8Array, envelopes: Uint8Array[]): Promise<number[]> {
    try {
      const records = [genesisRecord(genesis), ...envelopes.map(envelopeRecord)]
      const { log, offsets } = await Log.create(this.#path, records, this.#disk)
      this.#log = log
      this.#genesis = copyOf(genesis)
      return offsets.slice(1).map(inside)
    } catch (error) {
      throw diskError(error, this.#path)
    }
  }

  /** As {@link Log.append}; the offsets are the envelopes'. */
  append(envelopes: Uint8Array[], onDurable: (offsets: number[]) => void): Promise<void> {
    return this.log.append(envelopes.map(envelopeRecord), (offsets) =>
      onDurable(offsets.map((offset) => this.#segments.bytes + inside(offset)))
    )
  }

  /** Keeps the snapshot that this peer signs, in place of the one before. UnavailableError when the disk refuses. */
  async writeEpoch(file: Uint8Array[]): Promise<void> {
    const path = join(dirname(this.#path), 'epoch')
    await this.#disk.write(path, file).catch((error: unknown) => {
      throw diskError(error, path)
    })
  }

  /** What {@link writeEpoch} kept last; null when there is none. */
  readEpoch(): Promise<Uint8Array | null> {
    return this.#disk.read(join(dirname(this.#path), 'epoch'))
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
        this.incarnation = await nextIncarnation(path, this.#disk, this.#clock)
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
      await this.#behind?.close()
      this.#log = this.#behind = null
      await this.#disk.rename(this.#path, keptAs)
      await this.#segments.putAside(stamp)
    } catch (error) {
      throw diskError(error, this.#path)
    }
    await this.renewIncarnation()
    return keptAs
  }

  async close(): Promise<void> {
    await this.#log?.close()
    await this.#behind?.close()
    await this.#segments.close()
    await this.#lock.release()
  }
}

interface StorageDeps {
  clock: Clock
  random: Random
  log: Logger
  /** Left out: this host's. */
  disk?: Disk
  /** Called when something is lost that memory had given to the disk: nothing here can go on without it. */
  fail?: (error: unknown) => void
}

function lostSegment(path: string, scan: Scan | null): Damage {
  const what = scan == null ? 'is missing or has another length' : `ends ${scan.tornBytes} bytes too soon`
  const message = `${path}, a part of the archived history, ${what}; what was lost comes back from other peers; check the disk`
  return { message, keptAs: path }
}

function report(log: Logger, path: string, scan: Scan | null): void {
  if (scan == null) return
  if (scan.damage != null) log.error({ path, kept_as: scan.damage.keptAs }, scan.damage.message)
  else if (scan.tornBytes > 0) {
    log.warn({ path, bytes: scan.tornBytes }, 'an unfinished write at the end of the log was cut off')
  }
}
