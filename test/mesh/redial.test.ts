import { deepEqual, equal, ok } from 'node:assert/strict'
import { silentLogger } from '../../src/log.ts'
import { redialCapMs, redialMaxMs, redialTurnMs, redialTurnsMs, redialYieldMs } from '../../src/mesh/limits.ts'
import type { Network } from '../../src/mesh/network.ts'
import { Redial } from '../../src/mesh/redial.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('Redial', () => {
  function make(self = 'b') {
    const clock = new FakeClock()
    const up = new Set<string>()
    const dials: Array<{ peer: string; addresses: string[]; at: number }> = []
    const listeners: { connect?: (peer: string, direction: 'outbound') => void; disconnect?: (peer: string) => void } =
      {}
    const state = { answers: false }
    const network = {
      self,
      connected: () => [...up],
      remoteAddresses: () => ['/ip4/192.0.2.9/tcp/1'],
      onConnect: (listener: typeof listeners.connect) => {
        listeners.connect = listener!
        return () => delete listeners.connect
      },
      onDisconnect: (listener: typeof listeners.disconnect) => {
        listeners.disconnect = listener!
        return () => delete listeners.disconnect
      },
      dial: async (peer: string, addresses: string[]) => {
        dials.push({ peer, addresses, at: clock.monotonic() })
        if (!state.answers) throw new Error('refused')
        up.add(peer)
        listeners.connect?.(peer, 'outbound')
      }
    } as unknown as Network
    const addresses: Record<string, string[]> = {
      c: ['/ip4/192.0.2.1/tcp/1'],
      a: ['/ip4/192.0.2.2/tcp/1'],
      d: ['/ip4/192.0.2.3/tcp/1']
    }
    const redial = new Redial({
      network,
      addressesOf: (peer) => addresses[peer] ?? [],
      clock,
      random: { bytes: (n) => new Uint8Array(n), float: () => 0.5 },
      log: silentLogger
    })
    redial.start()
    const drop = (peer: string): void => {
      up.delete(peer)
      listeners.disconnect?.(peer)
    }
    return { clock, redial, dials, state, addresses, up, drop, listeners }
  }

  it('tries ever less often, up to the longest wait, and never gives up', async () => {
    const { clock, redial, dials } = make()
    redial.members(['c'])
    await clock.advance(120_000)
    const waits = dials.slice(1).map(({ at }, i) => at - dials[i]!.at)
    ok(dials.length > 25, `${dials.length}`)
    ok(waits[0]! < 100)
    deepEqual(
      waits,
      waits.toSorted((a, b) => a - b)
    )
    equal(Math.max(...waits) <= redialMaxMs, true)
    await redial.stop()
    equal(clock.pending, 0)
  })

  it('leaves the first dial to the smaller id', async () => {
    const { clock, redial, dials } = make('b')
    redial.members(['a', 'c'])
    await clock.advance(redialYieldMs)
    ok(dials.length > 0 && dials.every(({ peer }) => peer === 'c'))
    await clock.advance(redialYieldMs)
    ok(dials.some(({ peer }) => peer === 'a'))
    await redial.stop()
  })

  it('dials at once when addresses change, and again where the peer was last', async () => {
    const { clock, redial, dials, addresses, state, drop } = make()
    redial.members(['c'])
    await clock.advance(60_000)
    const before = dials.length
    addresses['c'] = ['/ip4/192.0.2.7/tcp/1']
    state.answers = true
    redial.hint('c')
    await clock.advance(1)
    equal(dials.length, before + 1)
    deepEqual(dials.at(-1)!.addresses, ['/ip4/192.0.2.7/tcp/1'])
    await clock.advance(60_000)
    equal(dials.length, before + 1)
    drop('c')
    await clock.advance(1)
    deepEqual(dials.at(-1)!.addresses, ['/ip4/192.0.2.9/tcp/1', '/ip4/192.0.2.7/tcp/1'])
    await redial.stop()
  })

  it('does not hurry to a peer that hangs up at once', async () => {
    const { clock, redial, dials, state, up, drop } = make()
    state.answers = true
    redial.members(['c'])
    for (let i = 0; i < 6_000; i++) {
      await clock.advance(10)
      if (up.has('c')) drop('c')
    }
    ok(dials.length < 120, `${dials.length} dials in a minute`)
    await redial.stop()
  }).timeout(10_000)

  it('tries all others at once when the first one answers after a time alone', async () => {
    const { clock, redial, dials, state } = make()
    redial.members(['c', 'd'])
    await clock.advance(60_000)
    state.answers = true
    const before = dials.length
    redial.hint('c')
    await clock.advance(1)
    deepEqual(
      dials.slice(before).map(({ peer }) => peer),
      ['c', 'd']
    )
    await redial.stop()
    equal(clock.pending, 0)
  })

  it('tries all that are away at once when one of them is back, but not each time that one comes and goes', async () => {
    const { clock, redial, dials, state, addresses, up, drop } = make()
    for (const peer of ['e', 'f']) addresses[peer] = ['/ip4/192.0.2.4/tcp/1']
    redial.members(['c', 'd', 'e', 'f'])
    for (const peer of ['c', 'd']) up.add(peer)
    await clock.advance(60_000)
    const dialled = async (act: () => void): Promise<string[]> => {
      const before = dials.length
      act()
      await clock.advance(1)
      return dials.slice(before).map(({ peer }) => peer)
    }
    state.answers = true
    deepEqual(await dialled(() => redial.hint('e')), ['e', 'f'])
    state.answers = false
    drop('f')
    drop('e')
    await clock.advance(300)
    state.answers = true
    const soon = await dialled(() => redial.hint('e'))
    equal(soon[0], 'e')
    equal(up.has('f'), false, 'f waits its turn')
    await clock.advance(3_000)
    equal(up.has('f'), true)
    await redial.stop()
  })

  it('leaves the first dial to nobody when told that nobody has a reason to dial, and takes one after the other', async () => {
    const { clock, redial, dials } = make('b')
    redial.members(['a', 'c', 'd'], { prompt: true })
    await clock.advance(1)
    // Which one comes first is left to chance, of which this is the middle.
    deepEqual(
      dials.map(({ peer }) => peer),
      ['c']
    )
    const tried = (): string[] => [...new Set(dials.map(({ peer }) => peer))]
    await clock.advance(redialTurnMs - 2)
    deepEqual(tried(), ['c'])
    await clock.advance(2)
    deepEqual(tried(), ['c', 'd'])
    await clock.advance(redialTurnMs)
    deepEqual(tried(), ['c', 'd', 'a'])
    await redial.stop()
  })

  it('takes its turns with the others although the first one has answered, and makes many of them wait no longer than a few', async () => {
    const { clock, redial, dials, state, addresses } = make('b')
    state.answers = true
    const many = Array.from({ length: 100 }, (_, i) => `p${i}`)
    for (const peer of many) addresses[peer] = ['/ip4/192.0.2.7/tcp/1']
    redial.members(many, { prompt: true })
    await clock.advance(1)
    equal(dials.length, 1)
    await clock.advance(redialTurnsMs / 2)
    ok(dials.length > 45 && dials.length < 55, `${dials.length}`)
    await clock.advance(redialTurnsMs / 2)
    equal(dials.length, many.length)
    await redial.stop()
  })

  it('waits the longer for a peer that is gone the more members do', () => {
    deepEqual([5, 50, 100, 250, 1_000].map(redialCapMs), [1_000, 1_000, 2_000, redialMaxMs, redialMaxMs])
  })

  it('leaves who is no member any more', async () => {
    const { clock, redial, dials } = make()
    redial.members(['c'])
    await clock.advance(1_000)
    redial.members([])
    const before = dials.length
    await clock.advance(60_000)
    equal(dials.length, before)
    equal(clock.pending, 0)
    await redial.stop()
  })
})
