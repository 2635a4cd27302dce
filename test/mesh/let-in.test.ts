import { equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Libp2pNetwork } from '../../src/mesh/libp2p-network.ts'
import { dialYieldMs } from '../../src/mesh/limits.ts'
import { openNetwork } from './open-network.ts'
import { Cleanup, until } from './support.ts'

describe('a dial to where somebody is just coming from', function () {
  this.timeout(20_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  const member = (): Promise<Libp2pNetwork> => openNetwork(cleanup)

  const signal = (): AbortSignal => AbortSignal.timeout(5_000)

  it('waits for it, and is not made when it was the peer', async () => {
    const [a, b] = [await member(), await member()]
    let dialled = 0
    const elsewhere = createServer((socket) => {
      dialled++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    cleanup.later(() => void elsewhere.close())
    await once(elsewhere, 'listening')
    const { port } = elsewhere.address() as { port: number }
    const theirs = b.dial(a.self, a.addresses(), { signal: signal() })
    while (a.counts().unproven === 0) await new Promise(setImmediate)
    await a.dial(b.self, [`/ip4/127.0.0.1/tcp/${port}`], { signal: signal() })
    await theirs
    equal(a.connected()[0], b.self)
    equal(dialled, 0)
  })

  it('is made all the same when it proves nothing', async () => {
    const [a, b] = [await member(), await member()]
    const port = Number(/tcp\/(\d+)$/.exec(a.addresses()[0] ?? '')?.[1])
    const mute = connect(port, '127.0.0.1')
    cleanup.later(() => void mute.destroy())
    await until('it is let in to prove itself', () => a.counts().unproven === 1)
    const began = performance.now()
    await a.dial(b.self, b.addresses(), { signal: signal() })
    ok(performance.now() - began >= dialYieldMs - 1)
    equal(a.connected()[0], b.self)
  })
})
