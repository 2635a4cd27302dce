import type { Stream } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { concat } from 'uint8arrays'
import { closeTimeoutMs, messageBytesMax, messageWholeMs, streamWindowBytesMax } from '../limits.ts'
import type { Clock } from '../../clock.ts'
import { deadline } from '../deadline.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel } from '../network.ts'

const HEADER_BYTES = 4

/**
 * Whole messages over a libp2p stream: each is its length, 4 bytes big endian, then its bytes. A stream that ends between
 * or inside headers has closed; one that ends inside a message was cut, which is an error. What has begun must be whole in
 * time, or a member could keep a place for ever with a byte now and then.
 */
export function streamChannel(stream: Stream, clock: Clock): Channel {
  // One message and one receive window can be buffered; whoever sends more without waiting loses the stream.
  const bytes = byteStream(stream, { maxBufferSize: messageBytesMax + streamWindowBytesMax })
  const body = async (length: number, signal: AbortSignal): Promise<Uint8Array> => {
    using limit = deadline(clock, messageWholeMs, { signal })
    try {
      return (await bytes.read({ bytes: length, signal: limit.signal })).subarray()
    } catch (error) {
      if (limit.signal.aborted) throw limit.signal.reason
      if ((error as Error).name !== 'UnexpectedEOFError') throw error
      throw new MisspokenError('cut_short', 'the stream ended in the middle of a message')
    }
  }
  return {
    async send(message) {
      if (message.byteLength > messageBytesMax) {
        throw new RangeError(`a message has at most ${messageBytesMax} bytes, not ${message.byteLength}`)
      }
      const header = new Uint8Array(HEADER_BYTES)
      new DataView(header.buffer).setUint32(0, message.byteLength)
      await bytes.write(concat([header, message]))
    },
    async receive({ signal, bytesMax = messageBytesMax }) {
      try {
        const header = await bytes.read({ bytes: HEADER_BYTES, signal }).catch((error: Error) => {
          if (error.name === 'UnexpectedEOFError') return null
          throw error
        })
        if (header == null) return null
        const length = header.getUint32(0)
        if (length > bytesMax) throw new RangeError(`a message of ${length} bytes was announced`)
        if (length === 0) return new Uint8Array(0)
        return await body(length, signal)
      } catch (error) {
        throw signal.aborted ? signal.reason : error
      }
    },
    async close() {
      using limit = deadline(clock, closeTimeoutMs)
      await stream.close({ signal: limit.signal }).catch((error: Error) => stream.abort(error))
    },
    abort: (reason) => stream.abort(reason)
  }
}
