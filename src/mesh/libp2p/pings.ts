import { UnavailableError } from '../../errors.ts'
import type { Clock } from '../../clock.ts'
import { deadline } from '../deadline.ts'
import { pingBytesMax, pingIdleMs, pingTimeoutMs } from '../limits.ts'
import type { Channel } from '../network.ts'

/**
 * Round trips over a stream that stays open between them: to open one and to close it takes eight messages, and a ping two. Who
 * is of an older version closes it after one, and so does who has heard nothing for `pingIdleMs`; then the next one opens another.
 */
export class Pings {
  readonly #clock: Clock
  /** By connection; the one that a ping uses is not here meanwhile. */
  readonly #idle = new WeakMap<object, Channel>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The round-trip time in ms. `open`: another stream of this connection. */
  async ping(connection: object, open: () => Promise<Channel>, { signal }: { signal: AbortSignal }): Promise<number> {
    const held = this.#idle.get(connection)
    this.#idle.delete(connection)
    if (held != null) {
      try {
        return await this.#measure(connection, held, signal)
      } catch {
        // That it was closed says nothing about the connection.
        signal.throwIfAborted()
      }
    }
    return this.#measure(connection, await open(), signal)
  }

  /** Serves the other side. */
  async echo(channel: Channel): Promise<void> {
    for (let waitMs = pingTimeoutMs; ; waitMs = pingIdleMs) {
      using limit = deadline(this.#clock, waitMs)
      const message = await channel
        .receive({ signal: limit.signal, bytesMax: pingBytesMax })
        .catch((error: unknown) => {
          if (limit.signal.aborted) return null
          throw error
        })
      if (message == null) return
      await channel.send(message.subarray(0, 1))
    }
  }

  async #measure(connection: object, channel: Channel, signal: AbortSignal): Promise<number> {
    const sentAt = this.#clock.monotonic()
    try {
      await channel.send(new Uint8Array(1))
      if ((await channel.receive({ signal })) == null) throw new UnavailableError('the peer has closed the stream', {})
      const ms = this.#clock.monotonic() - sentAt
      if (this.#idle.has(connection)) void channel.close()
      else this.#idle.set(connection, channel)
      return ms
    } catch (error) {
      channel.abort(error as Error)
      throw error
    }
  }
}
