import type { Clock } from '../../clock.ts'
import type { EnvelopeBytes } from '../../crdt/replicated.ts'
import { MisspokenError } from '../misspoken.ts'
import { deadline } from '../deadline.ts'
import { syncSilenceMs, syncWindowBytes } from '../limits.ts'
import type { Channel } from '../network.ts'
import { frames, parseFrame, type Frame } from './frame.ts'

/** The next frame. MisspokenError when the other side closes, TimedOutError when it says nothing for `syncSilenceMs`. */
export async function nextFrame(
  channel: Channel,
  clock: Clock,
  { signal, bytesMax }: { signal: AbortSignal; bytesMax?: number }
): Promise<Frame> {
  using limit = deadline(clock, syncSilenceMs, { signal })
  const message = await channel.receive({ signal: limit.signal, ...(bytesMax == null ? {} : { bytesMax }) })
  if (message == null) throw new MisspokenError('cut_short', 'the peer closed the stream before it was done')
  return parseFrame(message)
}

/**
 * Sends `outgoing` and takes what the other side sends, both at once, until both have said that it was all and heard
 * that all of it is on disk there. At most `syncWindowBytes` are under way, so a slow disk on either side slows the other down
 * instead of filling memory. `take` stores one batch durably; only then is it acknowledged.
 */
export async function transfer(
  channel: Channel,
  outgoing: Iterable<EnvelopeBytes[]>,
  take: (envelopes: EnvelopeBytes[]) => Promise<void>,
  { clock, signal }: { clock: Clock; signal: AbortSignal }
): Promise<{ sent: number }> {
  let sent = 0
  let underWay = 0
  let failure: unknown = null
  let wake: (() => void) | undefined

  const isFull = (bytes: number): boolean => failure == null && underWay > 0 && underWay + bytes > syncWindowBytes
  const send = async (): Promise<void> => {
    for (const envelopes of outgoing) {
      const message = frames.batch(envelopes)
      while (isFull(message.byteLength)) {
        await new Promise<void>((resolve) => (wake = resolve))
      }
      if (failure != null) return
      underWay += message.byteLength
      sent += envelopes.length
      await channel.send(message)
    }
    await channel.send(frames.end())
  }

  const receive = async (): Promise<void> => {
    let ended = false
    let confirmed = false
    while (!ended || !confirmed) {
      const frame = await nextFrame(channel, clock, { signal })
      if (frame.type === 'batch' && !ended) {
        await take(frame.envelopes)
        await channel.send(frames.ack(frame.size))
      } else if (frame.type === 'ack') {
        underWay -= frame.size
        wake?.()
      } else if (frame.type === 'end' && !ended) {
        ended = true
        await channel.send(frames.done())
      } else if (frame.type === 'done') {
        confirmed = true
      } else {
        throw new MisspokenError('out_of_turn', `the peer sent "${frame.type}" out of turn`)
      }
    }
  }

  const sending = send()
  // Awaited below; until then a failure to send shows itself as a failure to receive.
  sending.catch(() => {})
  try {
    await receive()
    await sending
  } catch (error) {
    failure = error
    wake?.()
    throw error
  }
  return { sent }
}
