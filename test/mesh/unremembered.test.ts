import { deepEqual, equal, rejects } from 'node:assert/strict'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { unremembered } from '../../src/mesh/libp2p/unremembered.ts'
import { Cleanup } from './support.ts'

describe('libp2p without a memory of others', () => {
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  async function node(): Promise<Libp2p> {
    const made = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { unremembered }
    })
    cleanup.later(async () => made.stop())
    return made
  }

  it('dials, opens streams and serves them, and knows nobody but itself afterwards', async () => {
    const [a, b] = [await node(), await node()]
    const served = Promise.withResolvers<string>()
    await b.handle('/test/1.0.0', (stream, { remotePeer }) => {
      served.resolve(remotePeer.toString())
      void stream.close()
    })
    const stream = await a.dialProtocol(b.getMultiaddrs(), '/test/1.0.0')
    equal(stream.protocol, '/test/1.0.0')
    equal(await served.promise, a.peerId.toString())
    for (const [one, other] of [
      [a, b],
      [b, a]
    ] as const) {
      // Of others, that is.
      deepEqual(await one.peerStore.all(), [])
      await rejects(one.peerStore.get(other.peerId), { name: 'NotFoundError' })
    }
    const own = await b.peerStore.get(b.peerId)
    equal(own.protocols.includes('/test/1.0.0'), true)
    const [connection] = a.getConnections(b.peerId)
    await connection?.close()
    equal((await a.dial(b.getMultiaddrs())).status, 'open')
  })
})
