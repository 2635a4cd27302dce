import { nameLengthMax } from '../limits.ts'
import { InviteExpiredError, InviteInvalidError, InviteUsedError } from '../errors.ts'
import { ByteReader, concat, hex, MalformedError, text, u16, u53, u8 } from './bytes.ts'
import { TIME_MAX } from './envelope.ts'
import { addressesMax, inviteTokenLengthMax } from './limits.ts'
import type { PeerId, Role } from './schema.ts'
import { peerIdOf, verify, type Signer } from './signer.ts'
import { readVia } from './via.ts'

/**
 * A signed leave to join: one line of URL-safe text that names the cluster and where to knock. Whoever holds it may
 * join until it expires or is used up. How often it was used is not in it: that is counted from the admissions in the
 * auth log that name it (see `validity.ts` for what happens when two sides of a partition redeem it at once).
 *
 *   arctic1.base64url( version u8 = 1 | cluster id 26 | cluster name text | inviter 32 | id 16 | expires-at ms u64 |
 *                      uses u16 | role u8 | count u8 | address text … |
 *                      where somebody with a token asked for it: via text | signature 64 )
 */
export interface Invite {
  /** Hex, 32 characters. */
  id: string
  clusterId: string
  clusterName: string
  inviter: PeerId
  /** Multiaddrs of the inviter's mesh, without `/p2p/…`. */
  addresses: string[]
  /** Wall-clock ms. */
  expiresAt: number
  uses: number
  role: Role
  /** On whose behalf it was made, as the inviter says. */
  via: string | null
  /** What the token wraps; an admission carries it, so that everybody can check it. */
  bytes: Uint8Array
}

const PREFIX = 'arctic1.'
const VERSION = 1
const TAG = 'arctic-invite-v1\0'
const SIGNATURE_BYTES = 64
export const ROLES = ['member', 'admin'] as const satisfies readonly Role[]

export function createInvite(
  signer: Signer,
  input: {
    /** 16 random bytes. */
    id: Uint8Array
    clusterId: string
    clusterName: string
    addresses: string[]
    expiresAt: number
    uses: number
    role: Role
    via: string | null
  }
): string {
  const unsigned = concat([
    u8(VERSION),
    Buffer.from(input.clusterId, 'latin1'),
    text(input.clusterName),
    signer.publicKey,
    input.id,
    u53(input.expiresAt),
    u16(input.uses),
    u8(ROLES.indexOf(input.role)),
    u8(input.addresses.length),
    ...input.addresses.map(text),
    ...(input.via == null ? [] : [text(input.via)])
  ])
  const signature = signer.sign(concat([Buffer.from(TAG), unsigned]))
  return PREFIX + Buffer.from(concat([unsigned, signature])).toString('base64url')
}

/** Reads a token and verifies its signature. InviteInvalidError says what is wrong with it. */
export function parseInvite(token: string): Invite {
  const line = token.trim()
  if (line.length > inviteTokenLengthMax) throw new InviteInvalidError('it is longer than any token')
  if (!line.startsWith(PREFIX)) {
    const other = /^arctic(\d+)\./.exec(line)
    throw new InviteInvalidError(
      other == null ? `a token begins with "${PREFIX}"` : `its format ${other[1]} is newer than this agent`
    )
  }
  const body = line.slice(PREFIX.length)
  const bytes = new Uint8Array(Buffer.from(body, 'base64url'))
  if (!/^[\w-]+$/.test(body)) throw new InviteInvalidError('it has characters that no token has')
  // Decoding drops stray bits at the end; writing it back shows them.
  if (Buffer.from(bytes).toString('base64url') !== body) throw new InviteInvalidError('it is cut short or was altered')
  return parseInviteBytes(bytes)
}

/** As {@link parseInvite}, for the bytes in an admission. */
export function parseInviteBytes(bytes: Uint8Array): Invite {
  try {
    return readInvite(bytes)
  } catch (error) {
    if (error instanceof MalformedError) throw new InviteInvalidError(error.message)
    throw error
  }
}

/** Checks an invite against the clock and the peers that have used it. InviteExpiredError, InviteUsedError. */
export function checkInvite(invite: Invite, now: number, usedBy: readonly PeerId[]): void {
  if (now >= invite.expiresAt) throw new InviteExpiredError(new Date(invite.expiresAt).toISOString())
  if (usedBy.length >= invite.uses) throw new InviteUsedError(invite.uses)
}

function readInvite(bytes: Uint8Array): Invite {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== VERSION) throw new MalformedError('its format is unknown')
  const clusterId = Buffer.from(reader.take(26)).toString('latin1')
  const clusterName = reader.text()
  const inviter = reader.take(32)
  const id = hex(reader.take(16))
  const expiresAt = reader.u53()
  const uses = reader.u16()
  const role = ROLES[reader.u8()]
  const count = reader.u8()
  if (count > addressesMax) throw new MalformedError('it names too many addresses')
  const addresses: string[] = []
  for (let i = 0; i < count; i++) addresses.push(reader.text())
  const via = reader.left > SIGNATURE_BYTES ? readVia(reader) : null
  const unsigned = bytes.subarray(0, reader.offset)
  const signature = reader.take(SIGNATURE_BYTES)
  reader.end()
  if (!verify(inviter, concat([Buffer.from(TAG), unsigned]), signature)) {
    throw new MalformedError('its signature is wrong: it was altered or forged')
  }
  if (role == null || uses === 0 || expiresAt > TIME_MAX || clusterName.length > nameLengthMax) {
    throw new MalformedError('it is out of bounds')
  }
  return { id, clusterId, clusterName, inviter: peerIdOf(inviter), addresses, expiresAt, uses, role, via, bytes }
}
