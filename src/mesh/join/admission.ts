import type { Clock } from '../../clock.ts'
import type { EnvelopeBytes, Replicated } from '../../crdt/replicated.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Bootstrap, SnapshotBootstrap } from '../../crdt/state.ts'
import { ForbiddenError, InviteInvalidError, NotInClusterError, RevokedError, toErrorBody } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { deadline } from '../deadline.ts'
import { introductionBytesMax, joinTimeoutMs, strangerIdleMs, syncBatchBytes } from '../limits.ts'
import type { Channel, Network } from '../network.ts'
import { QuietLog } from '../quiet-log.ts'
import type { Refusals } from '../refusals.ts'
import { transfer } from '../sync/transfer.ts'
import { parseQuestion, type JoinAnswer } from './answer.ts'

export const JOIN_PROTOCOL = '/arctic/join/1.0.0'

/** What admitting takes of the replica. */
export interface Admitting {
  clusterId(): string | null
  admit(input: { token: string; peer: PeerId; name: string }): Promise<void>
  bootstrap(): Bootstrap
  bootstrapSnapshot(): Promise<SnapshotBootstrap | null>
  isMember(peer: PeerId): boolean
  farewell(peer: PeerId): EnvelopeBytes[]
  receive: Replicated['receive']
}

/**
 * Serves joins. It is the one thing that a stranger may ask for, so nothing it sends is believed:
 *
 * 1. One message is read, within `strangerIdleMs`: token and name. The peer id is the connection's.
 * 2. The replica checks everything about the token and writes the admission; any member may do this for any other's.
 * 3. Refused: the error goes back as data. Admitted: genesis and all envelopes go back, in acknowledged batches; to who
 *    asks for a snapshot, and if there is one, the auth log and the snapshot instead.
 *
 * A member that is not known as one here yet, because whoever admitted it has not been reachable since, introduces itself
 * instead: it hands over the auth log, whose entries are signed by members and checked like all others. One that was
 * thrown out and has not heard of it is told in the same way, and nothing it says is taken.
 */
export class Admission {
  readonly #network: Network
  readonly #replica: Admitting
  readonly #clock: Clock
  readonly #log: Logger
  readonly #quiet: QuietLog
  readonly #refusals: Refusals
  readonly #stopped = new AbortController()

  constructor(parts: { network: Network; replica: Admitting; clock: Clock; log: Logger; refusals: Refusals }) {
    this.#refusals = parts.refusals
    this.#network = parts.network
    this.#replica = parts.replica
    this.#clock = parts.clock
    this.#log = parts.log.module('mesh:join')
    this.#quiet = new QuietLog(parts.clock, this.#log)
  }

  async start(): Promise<void> {
    await this.#network.handle(
      JOIN_PROTOCOL,
      this.#refusals.guard('join', (channel, from: PeerId) => this.#serve(channel, from))
    )
  }

  stop(): void {
    this.#stopped.abort(new Error('the mesh was stopped'))
  }

  async #serve(channel: Channel, peer: PeerId): Promise<void> {
    const { signal } = this.#stopped
    const answer = (content: JoinAnswer): Promise<void> => channel.send(Buffer.from(JSON.stringify(content)))
    let wantsSnapshot: boolean
    try {
      using limit = deadline(this.#clock, strangerIdleMs, { signal })
      const message = await channel.receive({ signal: limit.signal })
      if (message == null) return
      const question = parseQuestion(message)
      if (question == null) this.#refusals.add('join', 'malformed')
      if (question == null) throw new InviteInvalidError('the joining agent asked in a way that this one does not know')
      if (this.#replica.clusterId() == null) throw new NotInClusterError()
      if ('introduce' in question) {
        await answer({ listening: true })
        await this.#listen(channel, peer)
        return
      }
      wantsSnapshot = question.snapshot === true
      await this.#replica.admit({ token: question.token, peer, name: question.name })
      this.#log.info({ peer, name: question.name }, 'admitted a peer')
    } catch (error) {
      this.#refusals.note('join', error)
      const body = toErrorBody(asOfInvite(error))
      this.#quiet.info('refused a join', { peer, code: body.code })
      if (body.code === 'internal') this.#log.debug({ error, peer }, 'a join broke off')
      await answer({ error: body })
      // The other end closes when it has read the answer; closing first could lose it.
      using limit = deadline(this.#clock, strangerIdleMs, { signal })
      await channel.receive({ signal: limit.signal }).catch(() => null)
      return
    }
    const handed = wantsSnapshot ? await this.#snapshot() : null
    using limit = deadline(this.#clock, joinTimeoutMs, { signal })
    const send = (parts: Iterable<EnvelopeBytes[]>): Promise<unknown> =>
      transfer(channel, parts, refuseHistory, { clock: this.#clock, signal: limit.signal })
    if (handed == null) {
      const { genesis, envelopes } = this.#replica.bootstrap()
      await answer({ genesis: Buffer.from(genesis).toString('base64') })
      await send(batches(envelopes))
      return
    }
    const { genesis, auth, snapshot } = handed
    await answer({ genesis: Buffer.from(genesis).toString('base64'), snapshot: snapshot.length })
    await send(batches(auth))
    await send(pieces(snapshot))
  }

  /** null when there is none, or when it cannot be had: the history is always there. */
  async #snapshot(): Promise<SnapshotBootstrap | null> {
    try {
      return await this.#replica.bootstrapSnapshot()
    } catch (error) {
      this.#log.warn({ error }, 'there is no snapshot for who joins; it is handed the whole history')
      return null
    }
  }

  async #listen(channel: Channel, peer: PeerId): Promise<void> {
    using limit = deadline(this.#clock, joinTimeoutMs, { signal: this.#stopped.signal })
    let bytes = 0
    const farewell = this.#replica.farewell(peer)
    const take = async (envelopes: EnvelopeBytes[]): Promise<void> => {
      bytes += envelopes.reduce((sum, envelope) => sum + envelope.byteLength, 0)
      if (bytes > introductionBytesMax) throw new InviteInvalidError('the introduction is too long')
      if (farewell.length > 0) return
      const { refused } = await this.#replica.receive(envelopes, peer)
      if (refused.length > 0) throw new InviteInvalidError('the introduction holds entries that are not valid')
    }
    await transfer(channel, batches(farewell), take, { clock: this.#clock, signal: limit.signal })
    if (farewell.length > 0) this.#quiet.info('told a peer that it was revoked', { peer })
    if (this.#replica.isMember(peer)) this.#log.info({ peer }, 'a member has introduced itself')
  }
}

/** What keeps this agent from admitting anybody. Told as it is, "this peer" would be taken for the one that asks to join. */
function asOfInvite(error: unknown): unknown {
  if (error instanceof RevokedError) return new InviteInvalidError('the peer that made it was revoked')
  if (error instanceof ForbiddenError && error.details['role'] != null) {
    return new InviteInvalidError('the peer that made it is not an admin any more')
  }
  return error
}

function* pieces(file: Uint8Array): Iterable<Uint8Array[]> {
  for (let at = 0; at < file.length; at += syncBatchBytes) yield [file.subarray(at, at + syncBatchBytes)]
}

/** A joiner has nothing to tell that would be believed before it is a member. */
async function refuseHistory(): Promise<void> {
  throw new InviteInvalidError('the joining agent sent a history')
}

export function* batches(envelopes: EnvelopeBytes[]): Iterable<EnvelopeBytes[]> {
  let batch: EnvelopeBytes[] = []
  let bytes = 0
  for (const envelope of envelopes) {
    if (batch.length > 0 && bytes + envelope.byteLength > syncBatchBytes) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(envelope)
    bytes += envelope.byteLength
  }
  if (batch.length > 0) yield batch
}
