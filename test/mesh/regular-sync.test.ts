import { equal, ok } from 'node:assert/strict'
import type { Replicated } from '../../src/crdt/replicated.ts'
import { silentLogger } from '../../src/log.ts'
import { syncEveryMaxMs, syncEveryMinMs, syncLeftOutMax } from '../../src/mesh/limits.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { AntiEntropy } from '../../src/mesh/sync/anti-entropy.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { MemoryNet } from './memory-network.ts'

describe('the regular sync', () => {
  /** How many syncs A begins with B within so many of its turns. */
  async function begunIn(turns: number, agrees: () => boolean): Promise<number> {
    const net = new MemoryNet()
    const clock = new FakeClock()
    let begun = 0
    const make = (self: string): AntiEntropy => {
      const network = net.peer(self)
      const open = network.open.bind(network)
      network.open = (peer, protocol) => {
        if (self === 'a') begun++
        return open(peer, protocol)
      }
      const replica = { clusterId: () => 'c', vector: () => ({}) } as unknown as Replicated
      return new AntiEntropy({
        network: network.whole(),
        replica,
        clock,
        random: { bytes: (n) => new Uint8Array(n), float: () => 0.5 },
        log: silentLogger,
        refusals: new Refusals(),
        onNews: () => {},
        onMuchNews: () => {},
        agrees,
        onRefused: () => {}
      })
    }
    const [a, b] = [make('a'), make('b')]
    await a.start()
    await b.start()
    await clock.advance((turns * (syncEveryMinMs + syncEveryMaxMs)) / 2)
    await a.stop()
    await b.stop()
    return begun
  }

  it('takes place at each turn when nothing is known of the other one', async () => {
    ok((await begunIn(20, () => false)) >= 19)
  })

  it('is left out when a beat has just said the same, but not for ever', async () => {
    equal(await begunIn(3 * syncLeftOutMax, () => true), 3)
  })
})
