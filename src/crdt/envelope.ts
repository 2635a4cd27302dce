import { createHash } from 'node:crypto'
import { ByteReader, concat, equalBytes, hex, MalformedError, u32, u53, u8 } from './bytes.ts'
import { parseChunk } from './chunk.ts'
import { authEnvelopeBytesMax, envelopeBytesMax } from './limits.ts'
import type { EnvelopeBytes } from './replicated.ts'
import type { PeerId } from './schema.ts'
import { peerIdOf, verify, type Signer } from './signer.ts'

/**
 * What travels and what is stored: one Automerge change or one entry of the auth log, signed by its author.
 *
 *   version u8 = 1 | kind u8 | author 32 | incarnation u32 | seq u64 | written-at ms u64 | hash 32 | signature 64 |
 *   body length u32 | body
 *
 * The signature is Ed25519 over tag ‖ cluster id ‖ hash ‖ written-at. The hash of a change is Automerge's own, which
 * covers actor and seq; that of an auth entry is SHA-256 over author ‖ incarnation ‖ seq ‖ written-at ‖ body (admissions
 * count in the order of their times, so one entry must have one). So each bit is covered.
 *
 * A kind that this version does not know is built like an auth entry, under a tag of its own. It is held and handed on
 * like all others, and means nothing here: a newer agent finds it as it was written.
 */
export interface Envelope {
  kind: EnvelopeKind
  /** Raw public key, 32 bytes. */
  author: Uint8Array
  authorId: PeerId
  incarnation: number
  /** Hex name of the author-actor in version vectors; see {@link actorOf}. */
  actor: string
  /** From 1, without holes, per actor. */
  seq: number
  /** Wall-clock ms by the author's clock. */
  writtenAt: number
  /** Hex. */
  hash: string
  /** Hex hashes of the changes before it; always empty for an auth entry. */
  deps: string[]
  body: Uint8Array
  bytes: EnvelopeBytes
}

export type EnvelopeKind = 'change' | 'auth' | `kind-${number}`

const VERSION = 1
const KINDS = ['change', 'auth'] as const
/** `number`: from 1, as an envelope states it. */
export const envelopeKind = (number: number): EnvelopeKind => KINDS[number - 1] ?? `kind-${number}`
export const envelopeKindNumber = (kind: EnvelopeKind): number =>
  kind === 'change' || kind === 'auth' ? KINDS.indexOf(kind) + 1 : Number(kind.slice('kind-'.length))
/** The last millisecond that a date can name. */
export const TIME_MAX = 8.64e15
const HEADER_BYTES = 154

/** What is inside an envelope that has been parsed before. */
export const bodyOf = (bytes: EnvelopeBytes): Uint8Array => bytes.subarray(HEADER_BYTES)

/** The hash that an envelope says it has, unread; null for what is too short to be one. */
export const statedHash = (bytes: EnvelopeBytes): Uint8Array | null =>
  bytes.length < HEADER_BYTES ? null : bytes.subarray(54, 86)

/**
 * Reads an envelope and checks its size, hash, actor and seq, but not the signature. Throws MalformedError, whose
 * message completes the sentence "the envelope is not good: …".
 */
export function parseEnvelope(bytes: EnvelopeBytes): Envelope {
  const bytesMax = envelopeKind(bytes[1] ?? 0) === 'auth' ? authEnvelopeBytesMax : envelopeBytesMax
  if (bytes.length > bytesMax) throw new MalformedError(`it has more than ${bytesMax} bytes`)
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (version !== VERSION) throw new MalformedError(`its format is version ${version}, this agent knows ${VERSION}`)
  const number = reader.u8()
  if (number === 0) throw new MalformedError('it has no kind')
  const kind = envelopeKind(number)
  const author = reader.take(32)
  const incarnation = reader.u32()
  const seq = reader.u53()
  const writtenAt = reader.u53()
  const stated = reader.take(32)
  reader.take(64)
  const body = reader.take(reader.u32())
  reader.end()
  if (writtenAt > TIME_MAX) throw new MalformedError('its time is out of range')
  if (seq === 0) throw new MalformedError('its sequence number is 0')
  const actor = actorOf(kind, author, incarnation)
  let deps: string[] = []
  let hash: Uint8Array
  if (kind === 'change') {
    const chunk = parseChunk(body)
    if (chunk.actor !== actor) throw new MalformedError('the change inside is of another actor')
    if (chunk.seq !== seq) throw new MalformedError('the change inside has another sequence number')
    ;({ hash, deps } = chunk)
  } else {
    hash = authHash(author, incarnation, seq, writtenAt, body)
  }
  if (!equalBytes(hash, stated)) throw new MalformedError('its hash is wrong')
  const authorId = peerIdOf(author)
  return { kind, author, authorId, incarnation, actor, seq, writtenAt, hash: hex(hash), deps, body, bytes }
}

/** True when the author signed it for this cluster. */
export const verifyEnvelope = (envelope: Envelope, clusterId: string): boolean =>
  verify(...signatureOf(envelope, clusterId))

/** The key, what it has signed, and the signature: what {@link verifyEnvelope} verifies. */
export function signatureOf(envelope: Envelope, clusterId: string): Parameters<typeof verify> {
  const signature = envelope.bytes.subarray(86, 150)
  const hash = envelope.bytes.subarray(54, 86)
  return [envelope.author, signedBytes(envelope.kind, clusterId, hash, envelope.writtenAt), signature]
}

/** Signs a body that {@link parseEnvelope} accepts; for a change it must carry the actor and seq given here. */
export function sealEnvelope(
  signer: Signer,
  clusterId: string,
  parts: { kind: EnvelopeKind; incarnation: number; seq: number; writtenAt: number; body: Uint8Array }
): Envelope {
  const { kind, incarnation, seq, writtenAt, body } = parts
  const author = signer.publicKey
  const hash = kind === 'change' ? parseChunk(body).hash : authHash(author, incarnation, seq, writtenAt, body)
  const signature = signer.sign(signedBytes(kind, clusterId, hash, writtenAt))
  const head = [u8(VERSION), u8(envelopeKindNumber(kind)), author, u32(incarnation), u53(seq), u53(writtenAt)]
  return parseEnvelope(concat([...head, hash, signature, u32(body.length), body]))
}

/** An author writes as one actor per start and kind: Automerge's actor id, with one byte more for what is no change. */
export function actorOf(kind: EnvelopeKind, author: Uint8Array, incarnation: number): string {
  return hex(author) + hex(u32(incarnation)) + (kind === 'change' ? '' : hex(u8(envelopeKindNumber(kind) - 1)))
}

/** What {@link actorOf} was made of, besides the author. */
export function partsOfActor(actor: string): { kind: EnvelopeKind; incarnation: number } {
  const end = KEY_CHARACTERS + INCARNATION_CHARACTERS
  const incarnation = Number.parseInt(actor.slice(KEY_CHARACTERS, end), 16)
  return {
    kind: actor.length === end ? 'change' : envelopeKind(Number.parseInt(actor.slice(end), 16) + 1),
    incarnation
  }
}

const KEY_CHARACTERS = 64
const INCARNATION_CHARACTERS = 8

function signedBytes(kind: EnvelopeKind, clusterId: string, hash: Uint8Array, writtenAt: number): Uint8Array {
  return concat([Buffer.from(`arctic-${kind}-v1\0`), Buffer.from(clusterId), hash, u53(writtenAt)])
}

function authHash(
  author: Uint8Array,
  incarnation: number,
  seq: number,
  writtenAt: number,
  body: Uint8Array
): Uint8Array {
  return createHash('sha256')
    .update(concat([author, u32(incarnation), u53(seq), u53(writtenAt), body]))
    .digest()
}
