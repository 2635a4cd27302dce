import assert from 'node:assert/strict'
import { tunnelExpiresMs } from '../../src/actors/limits.ts'
import { tunnelFact } from '../../src/actors/tunnel/fact.ts'
import type { ActorJson } from '../../src/actors/operator/operator.ts'
import type { TunnelCounters } from '../../src/dataplane/desired.ts'
import { FakeLab } from './fakes/agents.ts'
import { peerId } from './fakes/records.ts'

const counters = (more: Partial<TunnelCounters>): TunnelCounters => ({
  peer: peerId('b'),
  device: 'arct-1',
  endpoint: null,
  handshakeAt: null,
  bytesIn: 0,
  bytesOut: 0,
  ...more
})

describe('a tunnel', () => {
  it('is what its counters say', () => {
    const now = 1_000_000
    const table: Array<[Partial<TunnelCounters>, string | null]> = [
      [{}, null],
      [{ bytesOut: 148 }, 'tunnel.dialled'],
      [{ handshakeAt: now }, 'tunnel.handshaken'],
      [{ handshakeAt: now - tunnelExpiresMs + 1 }, 'tunnel.handshaken'],
      [{ handshakeAt: now - tunnelExpiresMs }, 'tunnel.expired']
    ]
    for (const [more, type] of table) assert.equal(tunnelFact(counters(more), now)?.type ?? null, type)
  })

  it('goes from idle over connecting to up, down and up again', async () => {
    const lab = new FakeLab()
    const a = await lab.agent('a')
    await lab.agent('b')
    await a.actors.operator.createService({ target_peer_id: 'b' })
    const state = async (): Promise<string | null | undefined> => {
      const tree: ActorJson = await a.actors.operator.actors()
      return tree.children.find(({ path }) => path === `tunnel:${peerId('b')}`)?.state
    }
    const shows = async (more: Partial<TunnelCounters>): Promise<void> => {
      a.dataplane.tunnelFigures[0] = counters(more)
      await lab.clock.advance(6_000)
    }
    await lab.clock.advance(50)
    assert.equal(await state(), 'idle')
    await shows({ bytesOut: 148 })
    assert.equal(await state(), 'connecting')
    await shows({ handshakeAt: lab.clock.now(), endpoint: '10.9.0.2:7947' })
    assert.equal(await state(), 'up')
    assert.equal((await a.actors.operator.getPeer('b')).tunnels[0]?.endpoint, '10.9.0.2:7947')
    await shows({ handshakeAt: lab.clock.now() - tunnelExpiresMs })
    assert.equal(await state(), 'down')
    await shows({ handshakeAt: lab.clock.now() })
    assert.equal(await state(), 'up')
    await lab.stop()
  })
})
