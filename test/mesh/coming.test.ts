import { deepEqual, equal, ok } from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { EnvelopeBytes, Replicated, VersionVector } from '../../src/crdt/replicated.ts'
import { silentLogger } from '../../src/log.ts'
import { comingAvoidMs, comingLapseMs, comingMaxMs, forwardEnvelopesMax } from '../../src/mesh/limits.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { AntiEntropy } from '../../src/mesh/sync/anti-entropy.ts'
import { Coming } from '../../src/mesh/sync/coming.ts'
import { FAULTS } from '../../sim/faults.ts'
import { fault } from '../../sim/scenarios/scenario.ts'
import { operatorOf, World } from '../../sim/world.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { MemoryNet, type MemoryNetwork } from './memory-network.ts'

describe('what peers are about to hand over', () => {
  const theirs = { aa: 9, bb: 5 }
  function trial(here: VersionVector = { aa: 4 }) {
    const clock = new FakeClock()
    return { clock, here, coming: new Coming({ clock, vector: () => here }) }
  }

  it('counts as held, towards a peer that names it too', () => {
    const { coming, here } = trial()
    const delivery = coming.expect('x', here, theirs)
    deepEqual(coming.counted({ aa: 7, cc: 3 }), { vector: { aa: 7 }, on: [delivery] })
    deepEqual(coming.counted({ cc: 3 }), { vector: { aa: 4 }, on: [] })
    deepEqual(
      coming.known((vector) => vector['bb'] === 5),
      theirs
    )
  })

  it('is no more than what was asked for', () => {
    const { coming } = trial()
    equal(coming.expect('x', theirs, theirs), null)
  })

  it('has come whole, or not, when the sync has ended', async () => {
    for (const aa of [9, 8]) {
      const { clock, coming, here } = trial()
      const delivery = coming.expect('x', here, { aa: 9 })
      here['aa'] = aa
      delivery?.end()
      equal(await delivery?.whole, aa === 9)
      deepEqual(coming.counted(theirs).vector, { aa })
      equal(clock.pending, 0)
    }
  })

  it('is counted on no more when nothing of it comes for a while, nor is its sender', async () => {
    const { clock, coming, here } = trial()
    const delivery = coming.expect('x', here, theirs)
    await clock.advance(comingLapseMs - 1)
    delivery?.arrived()
    await clock.advance(comingLapseMs - 1)
    equal(coming.counted(theirs).on.length, 1)
    await clock.advance(1)
    equal(await delivery?.whole, false)
    deepEqual(coming.counted(theirs), { vector: here, on: [] })
    equal(coming.expect('x', here, theirs), null)
    ok(coming.expect('y', here, theirs) != null)
    await clock.advance(comingAvoidMs)
    ok(coming.expect('x', here, theirs) != null)
  })

  it('is counted on no longer than so long, however much comes', async () => {
    const { clock, coming, here } = trial()
    const delivery = coming.expect('x', here, theirs)
    for (let ms = 0; ms < comingMaxMs; ms += comingLapseMs / 2) {
      delivery?.arrived()
      await clock.advance(comingLapseMs / 2)
    }
    equal(await delivery?.whole, false)
  })
})

/** Syncs of peers whose replicas are numbers: an envelope is its actor and number. */
describe('syncs that bring the same at once', () => {
  const actor = 'ab'
  const count = 20

  function trial({ batch = count } = {}) {
    const clock = new FakeClock()
    const net = new MemoryNet()
    const peers = new Map<string, { sync: AntiEntropy; held: number; handed: number; news: number }>()
    const peer = (self: string, held: number) => {
      const state = { held, handed: 0, news: 0 }
      const replica = {
        clusterId: () => 'c',
        vector: () => ({ [actor]: state.held }),
        missing: (theirs: VersionVector) => {
          const from = theirs[actor] ?? 0
          const all = Array.from({ length: Math.max(0, state.held - from) }, (_, i) => Buffer.of(from + i + 1))
          return [all.slice(0, batch), all.slice(batch)].filter((some) => some.length > 0)
        },
        async receive(envelopes: EnvelopeBytes[]) {
          // A disk, so that the others come while it writes.
          await clock.sleep(100)
          state.handed += envelopes.length
          const before = state.held
          for (const bytes of envelopes) if (bytes[0] === state.held + 1) state.held++
          return { accepted: state.held - before, gap: false, refused: [] }
        }
      } as unknown as Replicated
      const network = net.peer(self)
      const sync = new AntiEntropy({
        network: network.whole(),
        replica,
        clock,
        random: { bytes: (n) => new Uint8Array(n), float: () => 0.999 },
        log: silentLogger,
        refusals: new Refusals(),
        onNews: (envelopes) => (state.news += envelopes.length),
        onMuchNews: () => {},
        agrees: () => true,
        onRefused: () => {}
      })
      const made = Object.assign(state, { sync, network })
      peers.set(self, made)
      return made
    }
    const start = () => Promise.all([...peers.values()].map(({ sync }) => sync.start()))
    const stop = () => Promise.all([...peers.values()].map(({ sync }) => sync.stop()))
    return { clock, net, peer, start, stop }
  }
  const { signal } = new AbortController()
  /** From then on it names what it holds and hands nothing over. */
  function mute(network: MemoryNetwork): void {
    const handle = network.handle.bind(network)
    network.handle = (protocol, handler) =>
      handle(protocol, (channel, from) => {
        const send = channel.send.bind(channel)
        channel.send = (message) => (message[0] === 'B'.charCodeAt(0) ? new Promise(() => {}) : send(message))
        return handler(channel, from)
      })
  }

  it('bring it once, whoever begins them', async () => {
    for (const how of ['ask', 'are asked'] as const) {
      const { clock, peer, start, stop } = trial()
      const late = peer('late', 0)
      const others = ['x', 'y', 'z'].map((name) => peer(name, count))
      await start()
      const syncs = Promise.all(
        how === 'ask'
          ? others.map(({ sync }) => sync.sync('late', { signal }))
          : ['x', 'y', 'z'].map((name) => late.sync.sync(name, { signal }))
      )
      await clock.advance(1_000)
      await syncs
      deepEqual([how, late.held, late.handed], [how, count, count])
      await stop()
      equal(clock.pending, 0)
    }
  })

  it('are gossiped on when they bring little, and not even the end of it when they bring much', async () => {
    for (const [lacks, news] of [
      [forwardEnvelopesMax, forwardEnvelopesMax],
      [count, 0]
    ] as const) {
      const { clock, peer, start, stop } = trial({ batch: forwardEnvelopesMax + 1 })
      const late = peer('late', count - lacks)
      peer('x', count)
      await start()
      const sync = late.sync.sync('x', { signal })
      await clock.advance(1_000)
      deepEqual([(await sync).received, late.news], [lacks, news])
      await stop()
    }
  })

  it('bring it all the same when the one that was to bring it says nothing more', async () => {
    const { clock, peer, start, stop } = trial()
    const late = peer('late', 0)
    mute(peer('x', count).network)
    peer('y', count)
    await start()
    const stuck = late.sync.sync('x', { signal }).catch(() => {})
    await clock.settle()
    const good = late.sync.sync('y', { signal })
    await clock.advance(comingLapseMs - 1)
    equal(late.held, 0)
    await clock.advance(200)
    deepEqual([late.held, await good], [count, { received: count, sent: 0 }])
    await clock.advance(20_000)
    await stuck
    await stop()
  })

  it('bring it all the same when the one that was to bring it ends without', async () => {
    const { clock, net, peer, start, stop } = trial()
    const late = peer('late', 0)
    mute(peer('x', count).network)
    peer('y', count)
    await start()
    const cut = late.sync.sync('x', { signal }).catch((error: Error) => error)
    await clock.settle()
    const good = late.sync.sync('y', { signal })
    await clock.settle()
    net.cut('late', 'x')
    await clock.advance(200)
    ok((await cut) instanceof Error)
    deepEqual([late.held, (await good).sent], [count, 0])
    await stop()
  })
})

describe('two sides of a cluster that find each other again', function () {
  this.timeout(120_000)
  this.slow(20_000)

  it('hand over to each member what it lacks about once', async () => {
    const world = new World('c4')
    const found = await world.scheduler.run(
      (async () => {
        const first = await world.found('coming')
        const others = [first]
        for (let n = 1; n < 5; n++) others.push(await world.join(first, 'admin'))
        await world.scheduler.sleep(2_000)
        const heal = FAULTS.split.begin(world, fault('split', 0, 0, [[0, 1, 2]]))
        await world.scheduler.sleep(10_000)
        const writes = 40
        for (let n = 0; n < writes; n++) {
          for (const at of [others[0]!, others[3]!]) {
            const ends = { source_peer_id: first.id, target_peer_id: others[1]!.id }
            await operatorOf(at).createService({ name: `${at.name}-${n}`, ...ends })
          }
        }
        await world.scheduler.sleep(5_000)
        let handed = 0
        for (const { agent } of others) {
          const { replica } = agent!
          const receive = replica.receive.bind(replica)
          replica.receive = (envelopes, from) => {
            handed += envelopes.length
            return receive(envelopes, from)
          }
        }
        heal()
        await world.scheduler.sleep(20_000)
        const heads = others.map(({ agent }) => agent!.replica.view().heads.toSorted().join())
        await Promise.all(others.map((host) => host.stop('remove')))
        return { heads, share: handed / (writes * others.length) }
      })()
    )
    equal(new Set(found.heads).size, 1)
    // Of two that say at once what they have, one may be asked a moment too early: then one of five hears it twice.
    ok(found.share < 1.4, `each change was handed to each member that lacked it ${found.share.toFixed(2)} times`)
  })
})
