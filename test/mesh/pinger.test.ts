import { deepEqual, equal } from 'node:assert/strict'
import { beatMs, pingEveryMs, pingsMissedMax, pingTimeoutMs } from '../../src/mesh/limits.ts'
import type { Network } from '../../src/mesh/network.ts'
import { Pinger } from '../../src/mesh/presence/pinger.ts'
import { Roster } from '../../src/mesh/presence/roster.ts'
import { silentLogger } from '../../src/log.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

/** A network of one peer whose wire can be cut without the connection noticing. */
class OneWire implements Pick<Network, 'connected' | 'ping' | 'hangUp'> {
  cut = false
  readonly hungUp: string[] = []
  connected = (): string[] => (this.hungUp.length > 0 ? [] : ['peer'])
  ping = (_peer: string, { signal }: { signal: AbortSignal }): Promise<number> => {
    if (!this.cut) return Promise.resolve(1)
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  }
  hangUp = async (peer: string): Promise<void> => {
    this.hungUp.push(peer)
  }
}

describe('pinger', () => {
  const start = () => {
    const clock = new FakeClock()
    const network = new OneWire()
    const roster = new Roster({ clock, isMember: () => true, events: { onChange: () => {}, onSilent: () => {} } })
    roster.connected('peer')
    const random = { bytes: (n: number) => new Uint8Array(n), float: () => 0 }
    const pinger = new Pinger({ network: network as unknown as Network, roster, clock, random, log: silentLogger })
    pinger.start()
    const pass = (ms: number): Promise<void> => clock.advance(ms)
    return { network, roster, pinger, pass }
  }

  it('leaves a connection alone that answers', async () => {
    const { network, roster, pinger, pass } = start()
    await pass(4 * pingEveryMs)
    deepEqual(network.hungUp, [])
    equal(roster.presence('peer').rttMs, 1)
    await pinger.stop()
  })

  it('a dead wire behind a live connection is noticed although beats arrive by others', async () => {
    const { network, pinger, pass } = start()
    await pass(2 * beatMs)
    network.cut = true
    await pass(pingEveryMs + pingsMissedMax * (pingTimeoutMs + beatMs))
    deepEqual(network.hungUp, ['peer'])
    await pinger.stop()
  })

  it('one lost answer is none', async () => {
    const { network, pinger, pass } = start()
    await pass(2 * beatMs)
    network.cut = true
    await pass(pingTimeoutMs + beatMs / 2)
    network.cut = false
    await pass(4 * pingEveryMs)
    deepEqual(network.hungUp, [])
    await pinger.stop()
  })
})
