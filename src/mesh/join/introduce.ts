import type { Clock } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { EnvelopeBytes } from '../../crdt/replicated.ts'
import type { ReplicatedState } from '../../crdt/state.ts'
import { UnavailableError } from '../../errors.ts'
import { deadline } from '../deadline.ts'
import { introductionBytesMax, joinTimeoutMs, syncSilenceMs } from '../limits.ts'
import type { Network } from '../network.ts'
import { transfer } from '../sync/transfer.ts'
import { batches, JOIN_PROTOCOL } from './admission.ts'
import { isListening } from './answer.ts'

/**
 * Tells a connected member, which takes this peer for a stranger, that it is a member: hands over the auth log. Needed
 * when this peer joined while that one was away, and whoever admitted it is away now: nobody else could tell it. If it
 * turns out that this peer was thrown out, the other one hands over the auth log up to there.
 */
export async function introduce(
  peer: PeerId,
  parts: {
    network: Network
    replica: Pick<ReplicatedState, 'authLog' | 'receive'>
    clock: Clock
    signal: AbortSignal
  }
): Promise<void> {
  const { network, replica, clock } = parts
  using limit = deadline(clock, joinTimeoutMs, { signal: parts.signal })
  const { signal } = limit
  const channel = await network.open(peer, JOIN_PROTOCOL, { signal })
  try {
    await channel.send(Buffer.from(JSON.stringify({ introduce: true })))
    using answered = deadline(clock, syncSilenceMs, { signal })
    const answer = await channel.receive({ signal: answered.signal })
    if (answer == null || !isListening(answer)) throw new UnavailableError(`peer ${peer} does not take introductions`)
    let bytes = 0
    const take = async (envelopes: EnvelopeBytes[]): Promise<void> => {
      bytes += envelopes.reduce((sum, envelope) => sum + envelope.byteLength, 0)
      if (bytes > introductionBytesMax) throw new UnavailableError(`peer ${peer} hands over too much`)
      await replica.receive(envelopes, peer)
    }
    await transfer(channel, batches(replica.authLog()), take, { clock, signal })
  } finally {
    void channel.close()
  }
}
