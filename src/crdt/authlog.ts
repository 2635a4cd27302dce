import { InviteInvalidError } from '../errors.ts'
import { ByteReader, concat, copyOf, equalBytes, hex, MalformedError, text, u16, u32, u53, u8 } from './bytes.ts'
import { actorOf, envelopeKind, envelopeKindNumber, partsOfActor, type Envelope } from './envelope.ts'
import { parseInviteBytes, ROLES, type Invite } from './invite.ts'
import type { PeerId, Role } from './schema.ts'
import { peerIdOf, publicKeyOf } from './signer.ts'
import { readVia } from './via.ts'

/**
 * The entries of the auth log: who belongs to the cluster, apart from what the cluster should be. It only grows, and
 * each entry names the one before it by the same author, so that nothing can be left out or slipped in.
 *
 *   operation u8 | hash of the author's previous entry 32 (zeros for the first) | the operation's fields
 *   admit  = 1: peer 32 | role u8 | name text | invite length u16 | invite
 *   revoke = 2: peer 32 | cut
 *   role   = 3: peer 32 | role u8 | hash of the entry that gave the present role 32 | cut
 *   leave  = 4: count u8 | hash of each admission that it ends 32 … | cut
 *   proof  = 5: peer 32 | cut | twice: envelope length u32 | envelope
 *   epoch  = 6: entries u64 | bytes u64 | SHA-256 32, of a snapshot that its author has made; see `epoch.ts`
 *   after the fields, where somebody with a token asked for it: via text
 *   cut = count u16 | ( kind of envelope u8, from 0 | incarnation u32 | last sequence number u64 ) …, in ascending order
 *
 * An operation that this version does not know is held in its place among its author's entries, and has no effect here.
 *
 * A cut says, per actor, up to which sequence number the peer's entries are judged as if this entry did not exist.
 */
export type AuthEntry = {
  /** Hex; {@link FIRST} for an author's first entry. */
  previous: string
  /** On whose behalf, as its author says. */
  via: string | null
} & AuthOperation

export type AuthOperation =
  | {
      operation: 'admit'
      peer: PeerId
      role: Role
      /** The name it asked for. */
      name: string
      invite: Invite
    }
  | { operation: 'revoke'; peer: PeerId; cut: Cut }
  | { operation: 'role'; peer: PeerId; role: Role; replaces: string; cut: Cut }
  /** `peer` is the author. `ends`: the admissions that made it a member; one that is made later may let it in again. */
  | { operation: 'leave'; peer: PeerId; ends: readonly string[]; cut: Cut }
  /** Two envelopes of `peer` that cannot both be honest; see `evidence.ts`. */
  | { operation: 'proof'; peer: PeerId; cut: Cut; envelopes: readonly [Uint8Array, Uint8Array] }
  /**
   * What so many entries came to, as a file of so many bytes with this digest (hex). `peer` is the author. It makes
   * nothing valid or invalid.
   */
  | { operation: 'epoch'; peer: PeerId; entries: number; bytes: number; digest: string }
  /** Of a newer version. `peer` is the author. */
  | { operation: 'unknown'; peer: PeerId; number: number }

/** Actor → last sequence number; 0 for an actor that is not in it. */
export type Cut = ReadonlyMap<string, number>

export const FIRST = '00'.repeat(32)
const OPERATIONS = ['admit', 'revoke', 'role', 'leave', 'proof', 'epoch'] as const

export function encodeAdmit(input: {
  previous: string
  peer: PeerId
  role: Role
  name: string
  invite: Uint8Array
}): Uint8Array {
  const { role, name, invite } = input
  return entry('admit', input.previous, [
    keyOf(input.peer),
    u8(ROLES.indexOf(role)),
    text(name),
    u16(invite.length),
    invite
  ])
}

export const encodeRevoke = (input: { previous: string; peer: PeerId; cut: Cut }): Uint8Array =>
  entry('revoke', input.previous, [keyOf(input.peer), encodeCut(input.cut)])

export const encodeRole = (input: {
  previous: string
  peer: PeerId
  role: Role
  replaces: string
  cut: Cut
}): Uint8Array =>
  entry('role', input.previous, [
    keyOf(input.peer),
    u8(ROLES.indexOf(input.role)),
    Buffer.from(input.replaces, 'hex'),
    encodeCut(input.cut)
  ])

export const encodeLeave = (input: { previous: string; ends: readonly string[]; cut: Cut }): Uint8Array =>
  entry('leave', input.previous, [
    u8(input.ends.length),
    ...input.ends.map((hash) => Buffer.from(hash, 'hex')),
    encodeCut(input.cut)
  ])

export const encodeProof = (input: {
  previous: string
  peer: PeerId
  cut: Cut
  envelopes: readonly [Uint8Array, Uint8Array]
}): Uint8Array =>
  entry('proof', input.previous, [
    keyOf(input.peer),
    encodeCut(input.cut),
    ...input.envelopes.flatMap((bytes) => [u32(bytes.length), bytes])
  ])

export const encodeEpoch = (input: { previous: string; entries: number; bytes: number; digest: string }): Uint8Array =>
  entry('epoch', input.previous, [u53(input.entries), u53(input.bytes), Buffer.from(input.digest, 'hex')])

/** An encoded entry that also says on whose behalf it was made. */
export const withVia = (body: Uint8Array, via: string | null): Uint8Array =>
  via == null ? body : concat([body, text(via)])

/**
 * Throws MalformedError for an entry that no agent of this version writes. What is kept for good holds copies: the envelope is a part of
 * the message or the file that it came in.
 */
export function parseAuthEntry(envelope: Envelope): AuthEntry {
  const reader = new ByteReader(envelope.body)
  const number = reader.u8()
  const operation = OPERATIONS[number - 1]
  if (number === 0) throw new MalformedError('it has no operation')
  const previous = hex(reader.take(32))
  if (operation == null) return { previous, operation: 'unknown', peer: envelope.authorId, number, via: null }
  const read = readOperation(operation, envelope.author, reader)
  const found: AuthEntry = { previous, ...read, via: reader.left === 0 ? null : readVia(reader) }
  reader.end()
  return found
}

function readOperation(operation: (typeof OPERATIONS)[number], author: Uint8Array, reader: ByteReader): AuthOperation {
  if (operation === 'leave') {
    const count = reader.u8()
    const ends = Array.from({ length: count }, () => hex(reader.take(32)))
    return { operation, peer: peerIdOf(author), ends, cut: readCut(author, reader) }
  }
  if (operation === 'epoch') {
    const [entries, bytes] = [reader.u53(), reader.u53()]
    return { operation, peer: peerIdOf(author), entries, bytes, digest: hex(reader.take(32)) }
  }
  const key = reader.take(32)
  const peer = peerIdOf(key)
  switch (operation) {
    case 'admit':
      return {
        operation,
        peer,
        role: readRole(reader),
        name: reader.text(),
        invite: readInvite(reader.take(reader.u16()))
      }
    case 'revoke':
      return { operation, peer, cut: readCut(key, reader) }
    case 'role':
      return { operation, peer, role: readRole(reader), replaces: hex(reader.take(32)), cut: readCut(key, reader) }
    case 'proof': {
      const cut = readCut(key, reader)
      const one = copyOf(reader.take(reader.u32()))
      return { operation, peer, cut, envelopes: [one, copyOf(reader.take(reader.u32()))] }
    }
  }
}

function entry(operation: (typeof OPERATIONS)[number], previous: string, fields: Uint8Array[]): Uint8Array {
  return concat([u8(OPERATIONS.indexOf(operation) + 1), Buffer.from(previous, 'hex'), ...fields])
}

function keyOf(peer: PeerId): Uint8Array {
  const key = publicKeyOf(peer)
  if (key == null) throw new RangeError('only peers with an Ed25519 key can be members')
  return key
}

/** Which start of the peer's agent an actor belongs to. */
export const incarnationOf = (actor: string): number => partsOfActor(actor).incarnation

function encodeCut(cut: Cut): Uint8Array {
  const parts = [...cut]
    .map(([actor, seq]) => {
      const { kind, incarnation } = partsOfActor(actor)
      return { kind: envelopeKindNumber(kind) - 1, incarnation, seq }
    })
    .sort((a, b) => a.kind - b.kind || a.incarnation - b.incarnation)
  return concat([
    u16(parts.length),
    ...parts.flatMap(({ kind, incarnation, seq }) => [u8(kind), u32(incarnation), u53(seq)])
  ])
}

function readCut(key: Uint8Array, reader: ByteReader): Cut {
  const cut = new Map<string, number>()
  let last = -1
  for (let count = reader.u16(); count > 0; count--) {
    const kind = reader.u8()
    const incarnation = reader.u32()
    const rank = kind * 2 ** 32 + incarnation
    if (kind === 0xff || rank <= last) throw new MalformedError('its cut is not in order')
    last = rank
    cut.set(actorOf(envelopeKind(kind + 1), key, incarnation), reader.u53())
  }
  return cut
}

function readRole(reader: ByteReader): Role {
  const role = ROLES[reader.u8()]
  if (role == null) throw new MalformedError('its role is unknown')
  return role
}

/** An invite may let many in, one after the other: its signature is checked once, not for each of them. */
let last: Invite | null = null

function readInvite(bytes: Uint8Array): Invite {
  if (last != null && equalBytes(last.bytes, bytes)) return last
  try {
    return (last = parseInviteBytes(copyOf(bytes)))
  } catch (error) {
    if (error instanceof InviteInvalidError) throw new MalformedError(error.message)
    throw error
  }
}
