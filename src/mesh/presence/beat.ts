import { publicKeyOf, verify, type Signer } from '../../crdt/signer.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { beatBytesMax, beatHeadsMax, beatMs, beatPeersMax, headsBeatGapMinMs, twinsPerBeatMax } from '../limits.ts'

/**
 * What a peer says of itself about once a second. Beats are handed on by others, so each is signed by its author:
 *
 *   signature 64 (Ed25519 over "arctic-beat-v1\0" ‖ cluster ‖ "\0" ‖ JSON) | JSON
 */
export interface Beat {
  peer: PeerId
  /** Grows with each start of the agent, and the counter with each beat; an older pair is a replay. */
  incarnation: number
  counter: number
  /** Wall-clock ms by the author's clock. */
  sentAt: number
  /** The author's next beat comes within this, ms. */
  everyMs: number
  version: string
  /** Sorted document heads, the first `beatHeadsMax`. */
  heads: string[]
  /** Digest of the version vector, base64. */
  vector: string
  /** Which state the author's service report has. */
  report: { incarnation: number; seq: number }
  /** Peers that the author hears from two agents at once, and the incarnations of both. Older versions say none. */
  twins: Array<[peer: PeerId, one: number, other: number]>
}

const SIGNATURE_BYTES = 64
const EVERY_MAX_MS = 60_000

export function encodeBeat(cluster: string, beat: Beat, signer: Signer): Uint8Array {
  const content = Buffer.from(
    JSON.stringify([
      beat.peer,
      beat.incarnation,
      beat.counter,
      beat.sentAt,
      beat.everyMs,
      beat.version,
      beat.heads.slice(0, beatHeadsMax),
      beat.vector,
      [beat.report.incarnation, beat.report.seq],
      beat.twins
    ])
  )
  return Buffer.concat([signer.sign(signed(cluster, content)), content])
}

/** The beat in a message, its signature not checked yet. Null when it is none. */
export function parseBeat(message: Uint8Array): Beat | null {
  if (message.byteLength <= SIGNATURE_BYTES || message.byteLength > beatBytesMax) return null
  let fields: unknown
  try {
    fields = JSON.parse(contentOf(message).toString())
  } catch {
    return null
  }
  if (!Array.isArray(fields) || fields.length < 9) return null
  const [peer, incarnation, counter, sentAt, everyMs, version, heads, vector, report, twins = []] = fields as unknown[]
  const whole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  const short = (value: unknown): value is string => typeof value === 'string' && value.length <= 128
  if (!short(peer) || !short(version) || !short(vector)) return null
  if (!whole(incarnation) || !whole(counter) || !whole(sentAt) || !whole(everyMs)) return null
  if (!Array.isArray(heads) || heads.length > beatHeadsMax || !heads.every(short)) return null
  if (!Array.isArray(report) || !whole(report[0]) || !whole(report[1])) return null
  if (!Array.isArray(twins) || twins.length > twinsPerBeatMax) return null
  const isTwin = (twin: unknown): twin is Beat['twins'][number] =>
    Array.isArray(twin) && twin.length >= 3 && short(twin[0]) && whole(twin[1]) && whole(twin[2])
  if (!twins.every(isTwin)) return null
  return {
    peer,
    incarnation,
    counter,
    sentAt,
    everyMs: Math.min(Math.max(everyMs, beatMs), EVERY_MAX_MS),
    version,
    heads,
    vector,
    report: { incarnation: report[0], seq: report[1] },
    twins
  }
}

export function beatSignedBy(cluster: string, message: Uint8Array, peer: PeerId): boolean {
  const key = publicKeyOf(peer)
  return key != null && verify(key, signed(cluster, contentOf(message)), message.subarray(0, SIGNATURE_BYTES))
}

/** How often a member of a cluster of this size beats: each beat reaches all, so the sum over all stays bounded. */
export const beatIntervalMs = (members: number): number => Math.round(beatMs * Math.max(1, members / beatPeersMax))

/**
 * The least time between two beats that announce nothing but new heads. One write changes everybody's heads, and each
 * then tells everybody: that is the square of the members, which a small cluster can afford twice a second, and one of 20 no
 * more often than it beats anyway. After a time of quiet there is no gap to wait for.
 */
export const headsBeatGapMs = (members: number): number =>
  Math.min(beatIntervalMs(members), Math.max(headsBeatGapMinMs, 2.5 * members * members))

/**
 * The least time between two beats for the sake of a connection to a peer of an older version, which cannot be greeted alone.
 * Beats go to all: when such a host comes back, everybody beats to everybody for its sake, which is bounded.
 */
export const connectedBeatGapMs = (members: number): number =>
  Math.min(beatIntervalMs(members), (members * members) / 20)

function contentOf(message: Uint8Array): Buffer {
  const { buffer, byteOffset, byteLength } = message
  return Buffer.from(buffer, byteOffset + SIGNATURE_BYTES, byteLength - SIGNATURE_BYTES)
}

const signed = (cluster: string, content: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`arctic-beat-v1\0${cluster}\0`), content])
