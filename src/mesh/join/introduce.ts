import type { Clock } from '../../clock.ts'
import { parseEnvelope } from '../../crdt/envelope.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Bootstrap } from '../../crdt/state.ts'
import { UnavailableError } from '../../errors.ts'
import { deadline } from '../deadline.ts'
import { joinTimeoutMs, syncSilenceMs } from '../limits.ts'
import type { Network } from '../network.ts'
import { transfer } from '../sync/transfer.ts'
import { batches, JOIN_PROTOCOL } from './admission.ts'
import { isListening } from './answer.ts'

/**
 * Tells a connected member, which takes this peer for a stranger, that it is a member: hands over the auth log. Needed
 * when this peer joined while that one was away, and whoever admitted it is away now: nobody else could tell it.
 */
export async function introduce(
  peer: PeerId,
  parts: { network: Network; bootstrap: () => Bootstrap; clock: Clock; signal: AbortSignal }
): Promise<void> {
  const { network, clock } = parts
  using limit = deadline(clock, joinTimeoutMs, { signal: parts.signal })
  const { signal } = limit
  const channel = await network.open(peer, JOIN_PROTOCOL, { signal })
  try {
    await channel.send(Buffer.from(JSON.stringify({ introduce: true })))
    using answered = deadline(clock, syncSilenceMs, { signal })
    const answer = await channel.receive({ signal: answered.signal })
    if (answer == null || !isListening(answer)) throw new UnavailableError(`peer ${peer} does not take introductions`)
    const auth = parts.bootstrap().envelopes.filter((envelope) => parseEnvelope(envelope).kind === 'auth')
    await transfer(channel, batches(auth), async () => {}, { clock, signal })
  } finally {
    void channel.close()
  }
}
