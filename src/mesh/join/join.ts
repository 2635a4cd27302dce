import { append } from '../../append.ts'
import type { Clock } from '../../clock.ts'
import { parseInvite } from '../../crdt/invite.ts'
import type { Bootstrap, SnapshotBootstrap } from '../../crdt/state.ts'
import type { PeerId } from '../../crdt/schema.ts'
import {
  AlreadyInClusterError,
  ArcticError,
  InvalidRequestError,
  InviteExpiredError,
  UnavailableError
} from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { deadline } from '../deadline.ts'
import { joinHistoryBytesMax, joinSnapshotTimeoutMs, joinTimeoutMs, syncSilenceMs } from '../limits.ts'
import type { Network } from '../network.ts'
import type { Refusals } from '../refusals.ts'
import { transfer } from '../sync/transfer.ts'
import { JOIN_PROTOCOL } from './admission.ts'
import { readAnswer } from './answer.ts'

/** What joining takes of the replica. */
export interface Joining {
  clusterId(): string | null
  adopt(input: Bootstrap & { token: string }): Promise<void>
  adoptSnapshot(input: SnapshotBootstrap & { token: string }): Promise<{ refused: string } | null>
}

/**
 * Redeems an invite, up to the point where this peer's replica belongs to the cluster:
 *
 * 1. The token is read here: signature, bounds, expiry. What is wrong with it is said before anything is sent.
 * 2. The inviter is dialled on all addresses of the token; noise proves that it is the inviter.
 * 3. Token and name go over; an error comes back as the contract's error, or genesis and a snapshot, or the history.
 * 4. The replica adopts them, checking all of it. When the snapshot does not come well, or is not to be believed, the same
 *    peer is asked for the history. Then the connection, made as a stranger, is closed.
 *
 * Returns the inviter and where it was reached. AlreadyInClusterError, Invite…Error, NameTakenError, UnavailableError.
 */
export async function redeem(
  token: string,
  name: string,
  parts: { network: Network; replica: Joining; clock: Clock; refusals: Refusals; log: Logger; signal: AbortSignal }
): Promise<{ inviter: PeerId; addresses: string[] }> {
  const { network, replica, clock } = parts
  const cluster = replica.clusterId()
  if (cluster != null) throw new AlreadyInClusterError(cluster)
  const invite = parseInvite(token)
  if (invite.inviter === network.self) {
    throw new InvalidRequestError('this invite was made by this very peer; redeem it on the peer that is to join')
  }
  // A clock that is wrong here must not refuse a good token: only the inviter's counts, unless it cannot be asked.
  using limit = deadline(clock, joinTimeoutMs, { signal: parts.signal })
  const { signal } = limit
  try {
    await network.dial(invite.inviter, invite.addresses, { signal })
  } catch (error) {
    if (clock.now() >= invite.expiresAt) throw new InviteExpiredError(new Date(invite.expiresAt).toISOString())
    throw error
  }
  try {
    const addresses = network.remoteAddresses(invite.inviter)
    if (!(await joinBySnapshot(token, name, invite.inviter, { ...parts, signal }))) {
      const received = await ask(token, name, invite.inviter, { network, clock, signal, snapshot: false })
      if ('snapshot' in received) throw new Error('it sent a snapshot that was not asked for')
      await replica.adopt({ ...received, token })
    }
    return { inviter: invite.inviter, addresses }
  } catch (error) {
    parts.signal.throwIfAborted()
    if (error instanceof ArcticError) throw error
    const why = (error as Error).message
    throw new UnavailableError(
      `the inviting peer ${invite.inviter} was reached, but the join broke off (${why}); try again`,
      { peer: invite.inviter },
      { cause: error }
    )
  } finally {
    // The inviter knows this connection as a stranger's. The next one is a member's.
    await network.hangUp(invite.inviter)
  }
}

/** False when it has to be done by the whole history. */
async function joinBySnapshot(
  token: string,
  name: string,
  inviter: PeerId,
  parts: Parameters<typeof redeem>[2]
): Promise<boolean> {
  const { network, replica, clock, refusals, log } = parts
  let received: Bootstrap | SnapshotBootstrap
  try {
    using limit = deadline(clock, joinSnapshotTimeoutMs, { signal: parts.signal })
    received = await ask(token, name, inviter, { network, clock, signal: limit.signal, snapshot: true })
  } catch (error) {
    parts.signal.throwIfAborted()
    // What the other side answers is final; what goes wrong after that may not go wrong with the history.
    const lost = error instanceof SnapshotLostError ? error.cause : error
    if (lost === error && error instanceof ArcticError) throw error
    refusals.note('join', lost)
    log.warn({ peer: inviter, error }, 'the snapshot did not come; the whole history is taken instead')
    return false
  }
  if (!('snapshot' in received)) {
    await replica.adopt({ ...received, token })
    return true
  }
  const refused = await replica.adoptSnapshot({ ...received, token })
  if (refused != null) refusals.add('join', 'invalid')
  return refused == null
}

async function ask(
  token: string,
  name: string,
  inviter: PeerId,
  parts: { network: Network; clock: Clock; signal: AbortSignal; snapshot: boolean }
): Promise<Bootstrap | SnapshotBootstrap> {
  const { network, clock, signal } = parts
  const channel = await network.open(inviter, JOIN_PROTOCOL, { signal })
  const take = async (bytesMax: number): Promise<Uint8Array[]> => {
    const taken: Uint8Array[] = []
    let bytes = 0
    const one = async (batch: Uint8Array[]): Promise<void> => {
      append(taken, batch)
      bytes += batch.reduce((sum, part) => sum + part.byteLength, 0)
      if (bytes > bytesMax) throw new RangeError(`what it hands over has more than ${bytesMax} bytes`)
    }
    await transfer(channel, [], one, { clock, signal })
    return taken
  }
  try {
    const question = { token, name, ...(parts.snapshot ? { snapshot: true } : {}) }
    await channel.send(Buffer.from(JSON.stringify(question)))
    using limit = deadline(clock, syncSilenceMs, { signal })
    const answer = await channel.receive({ signal: limit.signal })
    if (answer == null) throw new Error('it closed the stream without an answer')
    const { genesis, snapshot: size } = readAnswer(answer)
    if (size == null) return { genesis, envelopes: await take(joinHistoryBytesMax) }
    try {
      if (size > joinHistoryBytesMax) throw new RangeError(`its snapshot has more than ${joinHistoryBytesMax} bytes`)
      const auth = await take(joinHistoryBytesMax)
      return { genesis, auth, snapshot: Buffer.concat(await take(size)) }
    } catch (error) {
      throw new SnapshotLostError('the snapshot did not come', { cause: error })
    }
  } finally {
    await channel.close()
  }
}

class SnapshotLostError extends Error {}
