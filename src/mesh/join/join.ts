import type { Clock } from '../../clock.ts'
import { parseInvite } from '../../crdt/invite.ts'
import type { EnvelopeBytes } from '../../crdt/replicated.ts'
import type { Bootstrap } from '../../crdt/state.ts'
import type { PeerId } from '../../crdt/schema.ts'
import {
  AlreadyInClusterError,
  ArcticError,
  InvalidRequestError,
  InviteExpiredError,
  UnavailableError
} from '../../errors.ts'
import { deadline } from '../deadline.ts'
import { joinHistoryBytesMax, joinTimeoutMs, syncSilenceMs } from '../limits.ts'
import type { Network } from '../network.ts'
import { transfer } from '../sync/transfer.ts'
import { JOIN_PROTOCOL } from './admission.ts'
import { readAnswer } from './answer.ts'

/** What joining takes of the replica. */
export interface Joining {
  clusterId(): string | null
  adopt(input: Bootstrap & { token: string }): Promise<void>
}

/**
 * Redeems an invite, up to the point where this peer's replica belongs to the cluster:
 *
 * 1. The token is read here: signature, bounds, expiry. What is wrong with it is said before anything is sent.
 * 2. The inviter is dialled on all addresses of the token; noise proves that it is the inviter.
 * 3. Token and name go over; an error comes back as the contract's error, or genesis and history.
 * 4. The replica adopts them, checking all of it, and the connection, made as a stranger, is closed.
 *
 * Returns the inviter and where it was reached. AlreadyInClusterError, Invite…Error, NameTakenError, UnavailableError.
 */
export async function redeem(
  token: string,
  name: string,
  parts: { network: Network; replica: Joining; clock: Clock; signal: AbortSignal }
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
    const received = await ask(token, name, invite.inviter, { network, clock, signal })
    await replica.adopt({ ...received, token })
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

async function ask(
  token: string,
  name: string,
  inviter: PeerId,
  { network, clock, signal }: { network: Network; clock: Clock; signal: AbortSignal }
): Promise<Bootstrap> {
  const channel = await network.open(inviter, JOIN_PROTOCOL, { signal })
  try {
    await channel.send(Buffer.from(JSON.stringify({ token, name })))
    using limit = deadline(clock, syncSilenceMs, { signal })
    const answer = await channel.receive({ signal: limit.signal })
    if (answer == null) throw new Error('it closed the stream without an answer')
    const genesis = readAnswer(answer)
    const envelopes: EnvelopeBytes[] = []
    let bytes = 0
    const take = async (batch: EnvelopeBytes[]): Promise<void> => {
      envelopes.push(...batch)
      bytes += batch.reduce((sum, envelope) => sum + envelope.byteLength, 0)
      if (bytes > joinHistoryBytesMax) throw new Error(`its history has more than ${joinHistoryBytesMax} bytes`)
    }
    await transfer(channel, [], take, { clock, signal })
    return { genesis, envelopes }
  } finally {
    await channel.close()
  }
}
