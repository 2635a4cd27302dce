import { InviteInvalidError } from '../errors.ts'
import { ByteReader, concat, hex, MalformedError, text, u16, u8 } from './bytes.ts'
import type { Envelope } from './envelope.ts'
import { parseInviteBytes, ROLES, type Invite } from './invite.ts'
import type { PeerId, Role } from './schema.ts'
import { peerIdOf, publicKeyOf } from './signer.ts'

/**
 * The entries of the auth log: who belongs to the cluster, apart from what the cluster should be. It only grows, and
 * each entry names the one before it by the same author, so that nothing can be left out or slipped in.
 *
 *   operation u8 | hash of the author's previous entry 32 (zeros for the first) | the operation's fields
 *   admit = 1: peer 32 | role u8 | name text | invite length u16 | invite
 */
export interface AuthEntry {
  operation: 'admit'
  /** Hex; {@link FIRST} for an author's first entry. */
  previous: string
  peer: PeerId
  role: Role
  /** The name it asked for. */
  name: string
  invite: Invite
}

export const FIRST = '00'.repeat(32)
const ADMIT = 1

export function encodeAdmit(input: {
  previous: string
  peer: PeerId
  role: Role
  name: string
  invite: Uint8Array
}): Uint8Array {
  const key = publicKeyOf(input.peer)
  if (key == null) throw new RangeError('only peers with an Ed25519 key can be admitted')
  return concat([
    u8(ADMIT),
    Buffer.from(input.previous, 'hex'),
    key,
    u8(ROLES.indexOf(input.role)),
    text(input.name),
    u16(input.invite.length),
    input.invite
  ])
}

/** Throws MalformedError for an entry that no agent of this version writes. */
export function parseAuthEntry(envelope: Envelope): AuthEntry {
  const reader = new ByteReader(envelope.body)
  const operation = reader.u8()
  if (operation !== ADMIT) throw new MalformedError(`its operation ${operation} is unknown`)
  const previous = hex(reader.take(32))
  const peer = peerIdOf(reader.take(32))
  const role = ROLES[reader.u8()]
  if (role == null) throw new MalformedError('its role is unknown')
  const name = reader.text()
  const invite = readInvite(reader.take(reader.u16()))
  reader.end()
  return { operation: 'admit', previous, peer, role, name, invite }
}

function readInvite(bytes: Uint8Array): Invite {
  try {
    return parseInviteBytes(bytes)
  } catch (error) {
    if (error instanceof InviteInvalidError) throw new MalformedError(error.message)
    throw error
  }
}
