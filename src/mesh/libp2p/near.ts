import type { Connection, Stream } from '@libp2p/interface'
import { concat } from 'uint8arrays'
import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { deadline, TimedOutError } from '../deadline.ts'
import { gossipBacklogBytesMax, messageWholeMs, nearMessageBytesMax, nearRefusedMax, openTimeoutMs } from '../limits.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Link } from './connections.ts'

export const NEAR_PROTOCOL = '/arctic/near/1.0.0'

const LENGTH_BYTES = 4

/** One way to a member: its stream once that is open. */
interface Way {
  connection: Connection
  stream: Stream | null
  /** It is of a version that does not know of this protocol. */
  deaf: boolean
}

export interface NearEvents {
  /** What is said from now on reaches `peer`. */
  onHearer(peer: PeerId): void
  /** `peer` does not know of this protocol. */
  onDeaf(peer: PeerId): void
  /** False when the message should not have been sent. */
  hear(topic: string, data: Uint8Array, from: PeerId): boolean
  /** A stream of another peer was ended for what came on it, or did not come. */
  onMisspoken(error: Error): void
}

/**
 * What is said to those at the other end of a connection and handed on by nobody: a stream to each, opened when it connects and
 * kept. gossipsub is for what is handed on. It looks each message up among those that came before, judges who brought it and
 * tells others that it has it, which for a beat to everybody is most of the work. Each message is
 *
 *   length 4, big endian, of the rest | length of the topic 1 | topic | data
 *
 * Best effort: what is said while a stream is not open or its peer too slow is lost to that peer, and sync repairs it.
 */
export class NearStreams {
  readonly #clock: Clock
  readonly #events: NearEvents
  readonly #ways = new Map<PeerId, Way>()
  readonly #ended = new AbortController()

  constructor(clock: Clock, events: NearEvents) {
    this.#clock = clock
    this.#events = events
  }

  stop(): void {
    this.#ended.abort()
    this.#ways.clear()
  }

  hears(peer: PeerId): boolean {
    return this.#ways.get(peer)?.stream?.writeStatus === 'writable'
  }

  isDeaf(peer: PeerId): boolean {
    return this.#ways.get(peer)?.deaf === true
  }

  /** Sees to it that there is a stream, by this connection unless there is one already. */
  connect({ peer, connection }: Link): void {
    const way = this.#ways.get(peer)
    const isThere = way?.stream == null ? way?.connection === connection : way.stream.writeStatus === 'writable'
    if (!isThere) void this.#open(peer, connection)
  }

  disconnected(peer: PeerId): void {
    this.#ways.delete(peer)
  }

  say(topic: string, data: Uint8Array, peers: Iterable<PeerId>): void {
    const message = frame(topic, data)
    for (const peer of peers) {
      const stream = this.#ways.get(peer)?.stream
      if (stream?.writeStatus !== 'writable') continue
      if (stream.writeBufferLength + message.byteLength > gossipBacklogBytesMax) continue
      try {
        stream.send(message)
      } catch (error) {
        stream.abort(error as Error)
      }
    }
  }

  /** The other end of a stream that a member has opened. */
  serve(stream: Stream, from: PeerId): void {
    let held: Uint8Array = new Uint8Array(0)
    let refused = 0
    /** Runs while a message has begun and is not whole. */
    let whole: Timer | null = null
    const settle = (): void => {
      whole?.cancel()
      whole = null
    }
    const end = (error: Error): void => {
      settle()
      this.#events.onMisspoken(error)
      stream.abort(error)
    }
    stream.addEventListener('message', ({ data }) => {
      try {
        const bytes = data.subarray()
        let heard = 0
        held = this.#read(held.byteLength === 0 ? bytes : concat([held, bytes]), (topic, message) => {
          heard++
          // Each was counted when it was judged.
          if (!this.#events.hear(topic, message, from) && ++refused > nearRefusedMax)
            throw new Error('too much that should not have been said')
        })
        if (held.byteLength === 0 || heard > 0) settle()
        if (held.byteLength > 0)
          whole ??= this.#clock.after(messageWholeMs, () => end(new TimedOutError(messageWholeMs)))
      } catch (error) {
        end(error as Error)
      }
    })
    // What it does not say any more, it says on another one.
    stream.addEventListener('remoteCloseWrite', () => {
      if (held.byteLength > 0) end(new MisspokenError('cut_short', 'the stream ended in the middle of a message'))
      else void stream.close().catch(() => {})
    })
    stream.addEventListener('close', settle)
  }

  /** What is left of `bytes` behind the last whole message. */
  #read(bytes: Uint8Array, hear: (topic: string, data: Uint8Array) => void): Uint8Array {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    while (view.byteLength - at >= LENGTH_BYTES) {
      const length = view.readUInt32BE(at)
      if (length > nearMessageBytesMax)
        throw new MisspokenError('oversized', `a message of ${length} bytes was announced`)
      if (length === 0) throw new MisspokenError('malformed', 'a message of no bytes was announced')
      const end = at + LENGTH_BYTES + length
      if (end > view.byteLength) break
      const topicAt = at + LENGTH_BYTES + 1
      const dataAt = topicAt + view[topicAt - 1]!
      if (dataAt > end) throw new MisspokenError('malformed', 'the topic is longer than its message')
      hear(view.toString('latin1', topicAt, dataAt), bytes.subarray(dataAt, end))
      at = end
    }
    return bytes.subarray(at)
  }

  async #open(peer: PeerId, connection: Connection): Promise<void> {
    const way: Way = { connection, stream: null, deaf: false }
    this.#ways.set(peer, way)
    using limit = deadline(this.#clock, openTimeoutMs, { signal: this.#ended.signal })
    try {
      const stream = await connection.newStream(NEAR_PROTOCOL, { signal: limit.signal })
      if (this.#ways.get(peer) !== way) return stream.abort(new Error('the connection has gone'))
      way.stream = stream
      stream.addEventListener('close', () => this.#lost(peer, way))
      if (stream.status === 'open') this.#events.onHearer(peer)
      else this.#lost(peer, way)
    } catch (error) {
      if (this.#ways.get(peer) !== way) return
      // Of another version: nothing is asked of this connection again. Else the next look after it tries once more.
      way.deaf = (error as Error).name === 'UnsupportedProtocolError'
      if (way.deaf) this.#events.onDeaf(peer)
      else this.#ways.delete(peer)
    }
  }

  #lost(peer: PeerId, way: Way): void {
    if (this.#ways.get(peer) === way) this.#ways.delete(peer)
  }
}

function frame(topic: string, data: Uint8Array): Uint8Array {
  const name = Buffer.from(topic, 'latin1')
  const message = Buffer.allocUnsafe(LENGTH_BYTES + 1 + name.byteLength + data.byteLength)
  message.writeUInt32BE(message.byteLength - LENGTH_BYTES, 0)
  message.writeUInt8(name.byteLength, LENGTH_BYTES)
  name.copy(message, LENGTH_BYTES + 1)
  message.set(data, LENGTH_BYTES + 1 + name.byteLength)
  return message
}
