import { equal, ok, rejects, throws } from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import type { Connection, Stream, StreamMuxer } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import * as fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import type { Libp2pNetwork } from '../../src/mesh/libp2p-network.ts'
import { oneNegotiation } from '../../src/mesh/libp2p/negotiation.ts'
import { negotiationLinesMax } from '../../src/mesh/limits.ts'
import { rawNode } from './raw-member.ts'
import { openNetwork } from './open-network.ts'
import { Cleanup, until } from './support.ts'

/** Less than the 5 s after which a handshake and the opening of a stream are given up anyway. */
const AT_ONCE_MS = 3_000
const KIB_64 = 64 * 1024
/** Answers that are refused by name, as multistream-select says them. */
const refusals = (bytes: Uint8Array): number => Buffer.from(bytes).toString('latin1').split('\x03na\n').length - 1

describe('choosing a protocol', function () {
  this.timeout(20_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  const network = (): Promise<Libp2pNetwork> => openNetwork(cleanup)
  const portOf = (host: Libp2pNetwork): number => Number(/tcp\/(\d+)$/.exec(host.addresses()[0]!)![1])

  /** A connection of another libp2p node, whose streams are its own to fill. */
  async function stranger(host: Libp2pNetwork): Promise<{ connection: Connection; muxer: StreamMuxer }> {
    const node = await rawNode()
    cleanup.later(async () => node.stop())
    const connection = await node.dial(host.addresses().map((address) => multiaddr(address)))
    return { connection, muxer: (connection as unknown as { muxer: StreamMuxer }).muxer }
  }

  it('reads the length of a line as libp2p does, and no more than two bytes of it', () => {
    const decode = (...bytes: number[]): number =>
      oneNegotiation().lengthDecoder!(new Uint8ArrayList(...bytes.map((byte) => Uint8Array.of(byte))))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 14 - 1 }), (length) => {
        if (length < 0x80) return equal(decode(length), length)
        const [low, high] = [0x80 | (length & 0x7f), length >> 7]
        throws(() => decode(low), RangeError)
        equal(decode(low, high), length)
      })
    )
    throws(() => decode(0xff, 0xff), { name: 'InvalidMessageLengthError' })
  })

  it('ends with the second byte of a length that no name has, by whoever has proven nothing yet', async () => {
    const socket = connect(portOf(await network()), '127.0.0.1')
    cleanup.later(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(Uint8Array.of(0xff, 0xff))
    await until('it is cut off', () => socket.closed, AT_ONCE_MS)
  })

  it('ends after some lines, however many are there to be read', async () => {
    const socket = connect(portOf(await network()), '127.0.0.1')
    cleanup.later(() => void socket.destroy())
    const answers: Uint8Array[] = []
    socket.on('error', () => {})
    socket.on('data', (data) => answers.push(data))
    await once(socket, 'connect')
    // Few enough to be read at once, and more than are taken.
    socket.write(Buffer.from('\x02x\n'.repeat(100)))
    await until('it is cut off', () => socket.closed, AT_ONCE_MS)
    ok(refusals(Buffer.concat(answers)) <= negotiationLinesMax)
  })

  it('ends when more waits than a name has', async () => {
    const socket = connect(portOf(await network()), '127.0.0.1')
    cleanup.later(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(Buffer.alloc(KIB_64, '\x02x\n'))
    await until('it is cut off', () => socket.closed, AT_ONCE_MS)
  })

  for (const [what, bytes] of [
    ['a length that no name has', Buffer.alloc(2, 0xff)],
    ['100 names', Buffer.from('\x02x\n'.repeat(100))],
    ['64 KiB of names', Buffer.alloc(KIB_64, '\x02x\n')]
  ] as const) {
    it(`ends a stream for ${what}, and the others go on`, async () => {
      const host = await network()
      await host.handle('/echo/1.0.0', async (channel) => {
        const message = await channel.receive({ signal: AbortSignal.timeout(5_000) })
        await channel.send(message!)
      })
      const { connection, muxer } = await stranger(host)
      const stream = await muxer.createStream()
      const answers: Uint8Array[] = []
      stream.addEventListener('message', ({ data }) => answers.push(data.subarray()))
      stream.send(bytes)
      await until('it is cut off', () => stream.status !== 'open', AT_ONCE_MS)
      ok(refusals(Buffer.concat(answers)) <= negotiationLinesMax)
      equal((await echoOn(await connection.newStream('/echo/1.0.0'))).toString(), 'still here')
    })
  }

  it('ends when who is dialled answers with a length that no name has', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.write(Uint8Array.of(0xff, 0xff))
    })
    cleanup.later(() => void server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const [host, other] = [await network(), await network()]
    const signal = AbortSignal.timeout(AT_ONCE_MS)
    await rejects(host.dial(other.self, [`/ip4/127.0.0.1/tcp/${port}`], { signal }))
    equal(signal.aborted, false)
  })

  it('ends when a member answers the opening of a stream so', async () => {
    const host = await network()
    const { connection, muxer } = await stranger(host)
    muxer.removeEventListener('stream', (connection as unknown as { onIncomingStream: () => void }).onIncomingStream)
    muxer.addEventListener('stream', ({ detail }) => void detail.send(Uint8Array.of(0xff, 0xff)))
    await until('it is connected', () => host.connected().length === 1)
    const signal = AbortSignal.timeout(AT_ONCE_MS)
    await rejects(host.open(host.connected()[0]!, '/x/1.0.0', { signal }))
    equal(signal.aborted, false)
  })
})

async function echoOn(stream: Stream): Promise<Buffer> {
  const heard = new Promise<Buffer>((resolve) => {
    let all = Buffer.alloc(0)
    stream.addEventListener('message', ({ data }) => {
      all = Buffer.concat([all, data.subarray()])
      if (all.length >= 14) resolve(all.subarray(4))
    })
  })
  stream.send(Buffer.from('\0\0\0\x0astill here', 'latin1'))
  return heard
}
