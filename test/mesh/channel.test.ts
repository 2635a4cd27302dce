import { noise } from '@libp2p/noise'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { deepEqual, equal, rejects } from 'node:assert/strict'
import { TimedOutError } from '../../src/mesh/deadline.ts'
import { streamChannel } from '../../src/mesh/libp2p/channel.ts'
import { messageWholeMs } from '../../src/mesh/limits.ts'
import { Serving } from '../../src/mesh/actor-protocol/serving.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { Cleanup, pause } from './support.ts'

const PROTOCOL = '/test/1.0.0'
const forever = new AbortController().signal

describe('a channel', () => {
  const cleanup = new Cleanup()
  const clock = new FakeClock()
  let arrived: (stream: Stream) => void
  let client: Libp2p
  let server: Libp2p
  before(async () => {
    const node = (listen: string[]): Promise<Libp2p> =>
      createLibp2p({
        addresses: { listen },
        transports: [tcp()],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        connectionMonitor: { enabled: false }
      })
    ;[client, server] = [await node([]), await node(['/ip4/127.0.0.1/tcp/0'])]
    cleanup.later(async () => {
      await client.stop()
      await server.stop()
    })
    await server.handle(PROTOCOL, (stream) => arrived(stream))
  })
  after(() => cleanup.run())

  /** Both ends of a new stream, the second one as a channel. */
  async function pair(): Promise<{ stream: Stream; channel: ReturnType<typeof streamChannel> }> {
    const arriving = new Promise<Stream>((resolve) => (arrived = resolve))
    const connection = await client.dial(server.getMultiaddrs())
    const stream = await connection.newStream(PROTOCOL)
    return { stream, channel: streamChannel(await arriving, clock) }
  }

  it('waits for a message as long as it is told, but not for the rest of one that has begun', async () => {
    const { stream, channel } = await pair()
    const first = channel.receive({ signal: forever })
    await clock.advance(100 * messageWholeMs)
    stream.send(Uint8Array.of(0, 0, 0, 2, 7, 8))
    deepEqual([...((await first) ?? [])], [7, 8])

    const second = channel.receive({ signal: forever })
    const outcomes: unknown[] = []
    void second.catch((error: unknown) => outcomes.push(error))
    stream.send(Uint8Array.of(0, 0, 0, 9, 1))
    for (let i = 0; i < 400 && outcomes.length === 0; i++) {
      // However often there is another byte, as long as some are missing.
      if (i < 7) stream.send(Uint8Array.of(1))
      await pause(5)
      await clock.advance(messageWholeMs / 4)
    }
    equal(outcomes[0] instanceof TimedOutError, true)
    channel.abort(new Error('enough'))
  })

  it('of which a frame to the actors does not come whole is refused as none', async () => {
    const { stream, channel } = await pair()
    const refused: string[] = []
    const parts = { channel, peer: 'p', role: () => 'admin' as const, handler: () => null }
    const running = new Serving({ ...parts, refused: (why) => refused.push(why) }).run({ signal: forever })
    const failed = rejects(running, TimedOutError)
    stream.send(Uint8Array.of(0, 0, 0, 200, 0x7b))
    for (let i = 0; i < 400 && refused.length === 0; i++) {
      await pause(5)
      await clock.advance(messageWholeMs)
    }
    deepEqual(refused, ['malformed'])
    await failed
    channel.abort(new Error('enough'))
  })
})
