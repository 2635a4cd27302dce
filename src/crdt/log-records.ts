import { UnavailableError } from '../errors.ts'
import { ByteReader, concat, hex, u32, u53, u8, type Pieces } from './bytes.ts'
import type { Scan } from './log-scan.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * What a log of the replicated state says, record by record: the genesis; what it goes on behind, if it is not the first of
 * its cluster; envelopes.
 *
 *   genesis = 1: bytes | envelope = 2: bytes | base = 3: segments u32, bytes u53 | epoch = 4: digest 32
 */

/** What stands before the log in use. */
export interface Base {
  segments: number
  bytes: number
}

export interface Found {
  genesis: Uint8Array
  base: Base
  /** Digest of the snapshot that was taken over and that the log goes on behind, hex; null for a log that goes on behind its own. */
  epoch: string | null
  /** Of that snapshot's history, what has come. */
  behind: Array<{ offset: number; bytes: Uint8Array }>
  /** Of all that stands before the log; null when there is nothing, or when it cannot be used. */
  snapshot: Snapshot | null
  /** Of the log in use. */
  envelopes: Array<{ offset: number; bytes: Uint8Array }>
  /** Behind a damaged place: to be verified. */
  salvaged: Uint8Array[]
}

const GENESIS = 1
const ENVELOPE = 2
const BASE = 3
const EPOCH = 4

export const genesisRecord = (bytes: Uint8Array): Uint8Array => concat([u8(GENESIS), bytes])
export const baseRecord = ({ segments, bytes }: Base): Uint8Array => concat([u8(BASE), u32(segments), u53(bytes)])

export const epochRecord = (digest: string): Uint8Array => concat([u8(EPOCH), Buffer.from(digest, 'hex')])

/** Where the envelope is in a record. */
export const inside = (offset: number): number => offset + 1

/** Not put together: it is copied into its frame anyway. */
export const envelopeRecord = (bytes: Uint8Array): Pieces => [u8(ENVELOPE), bytes]

export function readRecords(path: string, scan: Scan): Found {
  const [first, ...rest] = scan.records
  if (first?.bytes[0] !== GENESIS) {
    throw new UnavailableError(
      `${path} is damaged in its first record, so the rest cannot be read; restore it, or move the directory away and join again`,
      { path }
    )
  }
  const base = rest[0]?.bytes[0] === BASE ? readBase(rest[0].bytes) : { segments: 0, bytes: 0 }
  return {
    genesis: first.bytes.subarray(1),
    base,
    epoch: rest[0]?.bytes[0] === EPOCH ? hex(rest[0].bytes.subarray(1)) : null,
    behind: [],
    snapshot: null,
    envelopes: rest
      .filter(({ bytes }) => bytes[0] === ENVELOPE)
      .map(({ offset, bytes }) => ({ offset: inside(offset), bytes: bytes.subarray(1) })),
    salvaged: scan.salvaged.filter((bytes) => bytes[0] === ENVELOPE).map((bytes) => bytes.subarray(1))
  }
}

function readBase(record: Uint8Array): Base {
  const reader = new ByteReader(record.subarray(1))
  return { segments: reader.u32(), bytes: reader.u53() }
}

/** What a new log says: what stands before it, and the envelopes that it begins with. */
export interface Beginning {
  base: Base
  envelopes: Uint8Array[]
}
