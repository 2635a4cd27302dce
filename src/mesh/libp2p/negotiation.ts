import type {
  Connection,
  Libp2pEvents,
  Stream,
  StreamMuxerFactory,
  TypedEventTarget,
  Upgrader
} from '@libp2p/interface'
import { handle, type MultistreamSelectInit } from '@libp2p/multistream-select'
import { InvalidMessageLengthError } from '@libp2p/utils'
import type { Clock } from '../../clock.ts'
import { deadline } from '../deadline.ts'
import { answerAtOnce, ask } from './choosing.ts'
import { negotiationBytesMax, negotiationLinesMax, openTimeoutMs } from '../limits.ts'

/**
 * What one choice of a protocol may cost, as options of multistream-select. By itself it takes lines as long as any come, and
 * as the length of a line as many bytes as have no end: 64 KiB of either, from anybody who reaches the port, keep the whole
 * agent busy for a second, for what has already come is read without a pause.
 */
export function oneNegotiation(): MultistreamSelectInit {
  let lines = 0
  return {
    lengthDecoder(bytes) {
      const [low = 0, high] = bytes.subarray()
      // libp2p reads one byte more for a RangeError and gives up for any other.
      if (low >= 0x80 && high == null) throw new RangeError('the length has a second byte')
      if (high != null && high >= 0x80) throw new InvalidMessageLengthError('no protocol has so long a name')
      if (++lines > negotiationLinesMax) throw new InvalidMessageLengthError('too many protocols were asked for')
      return high == null ? low : (low & 0x7f) | (high << 7)
    }
  }
}

/** The same for who answers; who asks waits for each answer, so nothing else comes before the last one. */
const answering = (): MultistreamSelectInit => ({ ...oneNegotiation(), maxBufferSize: negotiationBytesMax })

/** A service of libp2p that bounds the choice of encryption and muxer, and of the protocol of each stream that we open. */
export function boundedNegotiation({ upgrader, events }: Components): object {
  const upgradeInbound = upgrader.upgradeInbound.bind(upgrader)
  const upgradeOutbound = upgrader.upgradeOutbound.bind(upgrader)
  upgrader.upgradeInbound = (socket, options) => upgradeInbound(socket, { ...options, ...answering() })
  upgrader.upgradeOutbound = (socket, options) => upgradeOutbound(socket, { ...options, ...oneNegotiation() })
  events.addEventListener('connection:open', ({ detail: connection }) => {
    const newStream: Connection['newStream'] = connection.newStream.bind(connection)
    connection.newStream = (protocols, options) => newStream(protocols, { ...options, ...oneNegotiation() })
  })
  return {}
}

interface Components {
  upgrader: Upgrader
  events: TypedEventTarget<Libp2pEvents>
}

/** A muxer that chooses the protocol of each stream, whichever side opens it, within the same bounds before libp2p sees it. */
export function negotiatingMuxer(create: () => StreamMuxerFactory, clock: Clock) {
  return (components: { registrar: { getProtocols(): string[] } }): StreamMuxerFactory => {
    const factory = create()
    const negotiate = async (stream: Stream): Promise<void> => {
      using limit = deadline(clock, openTimeoutMs)
      const protocols = components.registrar.getProtocols()
      const { signal } = limit
      stream.protocol =
        (await answerAtOnce(stream, protocols, { signal })) ??
        (await handle(stream, protocols, { ...answering(), signal }))
    }
    const chosen = async (stream: Stream, protocol: string, signal: AbortSignal | undefined): Promise<Stream> => {
      using limit = deadline(clock, openTimeoutMs, signal == null ? {} : { signal })
      try {
        await ask(stream, protocol, { signal: limit.signal })
        stream.protocol = protocol
        return stream
      } catch (error) {
        stream.abort(error as Error)
        throw error
      }
    }
    const createStreamMuxer: StreamMuxerFactory['createStreamMuxer'] = (connection) => {
      const muxer = factory.createStreamMuxer(connection)
      const listen = muxer.addEventListener.bind(muxer) as Listen
      const negotiated: Listen = (type, listener, options) => {
        if (type !== 'stream' || typeof listener !== 'function') return listen(type, listener, options)
        const afterwards = (event: CustomEvent<Stream>): void => {
          negotiate(event.detail).then(
            () => listener(event),
            (error: Error) => event.detail.abort(error)
          )
        }
        listen(type, afterwards, options)
      }
      muxer.addEventListener = negotiated
      const create = muxer.createStream.bind(muxer)
      muxer.createStream = async (options = {}) => {
        const stream = await create(options)
        return options.protocol == null ? stream : chosen(stream, options.protocol, options.signal)
      }
      return muxer
    }
    return { protocol: factory.protocol, createStreamMuxer }
  }
}

type Listen = (
  type: string,
  listener: ((event: CustomEvent<Stream>) => void) | object | null,
  options?: unknown
) => void
