import { UnavailableError } from '../errors.ts'
import { ByteReader, MalformedError } from './bytes.ts'
import { systemDisk, type Disk } from './disk.ts'
import { frameReadBytesMax } from './limits.ts'
import { FILE_HEADER, FRAME_HEADER_BYTES, frameChecksum, LOG_MAGIC, LOG_VERSION } from './log.ts'
import type { Damage } from './state.ts'

/**
 * Reading a log back after whatever happened to it.
 *
 * 1. The header: another file, or a newer format, is refused with a sentence and left alone.
 * 2. Frame by frame up to the first one that is not good.
 * 3. No good frame behind it: it is the torn tail of a write that was never acknowledged; it is cut off. When all its
 *    bytes are there, a damaged last frame looks the same, so those are kept in a copy and reported.
 * 4. A good frame behind it: the bad one was once whole and has been damaged since. A copy of the file is kept, the log
 *    is cut to the good part, and what can be read behind the damage is handed back as `salvaged`, to be verified like
 *    anything that comes from another peer. What is lost comes back from the other peers.
 */
export interface Scan {
  records: LogRecord[]
  /** Records behind a damaged place; to be trusted as little as a stranger's. */
  salvaged: Uint8Array[]
  /** Where the good part ends. */
  length: number
  /** Bytes of a torn tail that are to be cut. */
  tornBytes: number
  damage: Damage | null
}

export interface LogRecord {
  offset: number
  bytes: Uint8Array
}

/** null when there is no log. UnavailableError when nothing of it can be used. */
export async function scanLog(path: string, stamp: string, disk: Disk = systemDisk): Promise<Scan | null> {
  const bytes = await disk.read(path)
  if (bytes == null) return null
  checkHeader(path, bytes)
  const scan: Scan = { records: [], salvaged: [], length: FILE_HEADER.length, tornBytes: 0, damage: null }
  for (;;) {
    const end = readFrame(bytes, scan.length, (record) => scan.records.push(record))
    if (end == null) break
    scan.length = end
  }
  const bad = scan.length
  if (bad === bytes.length) return scan
  const salvaged = salvage(bytes, bad + 1)
  if (salvaged.length === 0 && !isComplete(bytes, bad)) return { ...scan, tornBytes: bytes.length - bad }
  const keptAs = `${path}.damaged-${stamp}`
  await disk.copy(path, keptAs)
  const what =
    salvaged.length === 0
      ? `the last write in ${path} is damaged and was dropped`
      : `${path} is damaged at byte ${bad}; ${salvaged.length} later records are being verified anew`
  const message = `${what}; what was lost comes back from other peers; check the disk, then remove the copy ${keptAs}`
  return { ...scan, salvaged, damage: { message, keptAs } }
}

function checkHeader(path: string, bytes: Uint8Array): void {
  const reader = new ByteReader(bytes)
  if (bytes.length < FILE_HEADER.length || Buffer.compare(reader.take(LOG_MAGIC.length), LOG_MAGIC) !== 0) {
    throw new UnavailableError(
      `${path} is not the replicated state of an agent, or its first bytes are damaged; restore it, or move the directory away and join again`,
      { path }
    )
  }
  const version = reader.u32()
  if (version !== LOG_VERSION) {
    throw new UnavailableError(
      `${path} was written in format ${version}, this agent knows format ${LOG_VERSION}; start the newer agent again`,
      { path, format: version }
    )
  }
  if (reader.u32() !== 0) throw new UnavailableError(`${path} has a damaged header; restore it`, { path })
}

/** Where the frame at `start` ends; null when there is no good one. */
function readFrame(bytes: Uint8Array, start: number, onRecord: (record: LogRecord) => void): number | null {
  if (start + FRAME_HEADER_BYTES > bytes.length) return null
  const head = new ByteReader(bytes.subarray(start, start + FRAME_HEADER_BYTES))
  const length = head.u32()
  const checksum = head.u32()
  const at = start + FRAME_HEADER_BYTES
  if (length === 0 || length > frameReadBytesMax || at + length > bytes.length) return null
  const payload = bytes.subarray(at, at + length)
  if (frameChecksum(payload) !== checksum) return null
  const reader = new ByteReader(payload)
  const records: LogRecord[] = []
  try {
    while (reader.left > 0) {
      const size = reader.u32()
      records.push({ offset: at + reader.offset, bytes: reader.take(size) })
    }
  } catch (error) {
    if (error instanceof MalformedError) return null
    throw error
  }
  for (const record of records) onRecord(record)
  return at + length
}

/** All records of good frames at or behind `start`, wherever they begin. */
function salvage(bytes: Uint8Array, start: number): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = start; at + FRAME_HEADER_BYTES < bytes.length;) {
    at = readFrame(bytes, at, (record) => found.push(record.bytes)) ?? at + 1
  }
  return found
}

/** True when the frame's whole length is there, so that it may have been good once. */
function isComplete(bytes: Uint8Array, start: number): boolean {
  if (start + FRAME_HEADER_BYTES > bytes.length) return false
  const length = new ByteReader(bytes.subarray(start, start + 4)).u32()
  return length > 0 && start + FRAME_HEADER_BYTES + length <= bytes.length
}
