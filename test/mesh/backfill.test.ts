import { deepEqual, equal, ok } from 'node:assert/strict'
import { systemClock, type Clock } from '../../src/clock.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { silentLogger } from '../../src/log.ts'
import type { Channel } from '../../src/mesh/network.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { Backfill } from '../../src/mesh/sync/backfill.ts'
import { frames } from '../../src/mesh/sync/frame.ts'
import { nextFrame, transfer } from '../../src/mesh/sync/transfer.ts'
import { systemRandom } from '../../src/random.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from '../crdt/support.ts'
import { startHost, type Host } from './host.ts'
import { MemoryNet } from './memory-network.ts'
import { Cleanup, pause, temporaryDirectory, until } from './support.ts'

const signal = (ms = 20_000): AbortSignal => AbortSignal.timeout(ms)

describe('joining by a snapshot', function () {
  this.timeout(60_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  it('a peer serves at once, and has verified the whole history soon after', async () => {
    const root = await temporaryDirectory()
    cleanup.later(async () => root[Symbol.asyncDispose]())
    const host = async (name: string): Promise<Host> => {
      const started = await startHost(root.path, name, { epochEvery: 30 })
      cleanup.later(() => started.stop())
      return started
    }
    const [a, b] = [await host('a'), await host('b')]
    await a.replica.init({ name: 'test', record: a.record() })
    const token = await a.mesh.invite({ ttlMs: 60_000, uses: 2, role: 'admin' })
    await b.mesh.join(token, { signal: signal() })
    await a.replica.signEpoch()
    for (let i = 0; i < 60; i++) {
      await a.replica.createService({ source_peer_id: a.id, target_peer_id: b.id, name: `s${i}` })
    }
    const c = await host('c')
    const seen: Array<number | undefined> = []
    c.replica.onView(() => seen.push(c.replica.behind()?.verified))
    await c.mesh.join(token, { signal: signal() })
    equal(c.replica.view().services.size, 60)
    ok(seen[0] != null, 'it has taken the whole history')
    await until('all is verified', () => c.replica.behind() == null, 20_000)
    equal(c.replica.contradiction(), null)
    await until(
      'all hold the same',
      () => new Set([a, b, c].map((one) => one.replica.view().heads.join())).size === 1,
      8_000
    )
    equal((await c.replica.verify()).flaw, null)
    deepEqual(c.mesh.refusals(), [])
  })
})

describe('the history behind a snapshot', function () {
  this.timeout(60_000)
  const bench = new Bench()
  const cleanup = new Cleanup()
  afterEach(async () => {
    await cleanup.run()
    await bench.clean()
  })

  /** Waits of seconds are waits of ten milliseconds. */
  const hasty: Clock = {
    ...systemClock,
    after: (ms, fn) => systemClock.after(ms / 100, fn),
    sleep: (ms, options) => systemClock.sleep(ms / 100, options)
  }

  async function serve(replica: Replica, channel: Channel): Promise<void> {
    const options = { clock: systemClock, signal: signal() }
    await nextFrame(channel, systemClock, options)
    await channel.send(frames.vector(replica.vector()))
    const asked = await nextFrame(channel, systemClock, options)
    ok(asked.type === 'vector')
    await transfer(channel, replica.missing(asked.vector, 2_000), async () => {}, options)
  }

  const forged = (replica: Replica): Uint8Array[] =>
    replica.bootstrap().envelopes.map((bytes) => {
      const copy = Uint8Array.from(bytes)
      copy[100] = (copy[100] as number) ^ 1
      return copy
    })

  const liars: Record<string, (a: Replica, channel: Channel) => Promise<void>> = {
    garbage: (_, channel) => channel.send(Buffer.from('what?')),
    silence: () => pause(5_000),
    'a reset': async (_, channel) => channel.abort(new Error('no')),
    'too large a message': (_, channel) => channel.send(new Uint8Array(5 * 1024 * 1024).fill(86)),
    'nothing at all': async (a, channel) => {
      await nextFrame(channel, systemClock, { signal: signal() })
      await channel.send(frames.vector(a.vector()))
      await channel.send(frames.end())
      await channel.send(frames.done())
      await pause(50)
    },
    'forged entries': async (a, channel) => {
      await nextFrame(channel, systemClock, { signal: signal() })
      await channel.send(frames.vector(a.vector()))
      await channel.send(frames.batch(forged(a)))
      await pause(50)
    },
    'the same entries, for ever': async (a, channel) => {
      await nextFrame(channel, systemClock, { signal: signal() })
      await channel.send(frames.vector(a.vector()))
      for (let i = 0; i < 500; i++) {
        await channel.send(frames.batch(a.authLog()))
        await pause(10)
      }
    }
  }

  it('comes from who has it, whatever the others send; and what they do wrong is counted', async () => {
    const a = await bench.open(await bench.dir(), signer(1), undefined, undefined, 20)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const members = Object.keys(liars).map((_, i) => signer(20 + i).peerId)
    for (const [i, peer] of members.entries()) await a.admit({ token: invite(a), peer, name: `liar-${i}` })
    for (let i = 0; i < 40; i++)
      await a.createService(serviceInput(a, a, { target_peer_id: members[0] ?? '', name: `s${i}` }))
    const d = await bench.open(await bench.dir(), signer(4))
    const token = invite(a)
    await a.admit({ token, peer: d.self, name: 'delta' })
    const handed = await a.bootstrapSnapshot()
    ok(handed != null)
    equal(await d.adoptSnapshot({ ...handed, token }), null)

    const net = new MemoryNet()
    const [own, good] = [net.peer(d.self), net.peer(a.self)]
    let served = 0
    const asked = new Set<string>()
    await good.handle(SYNC_PROTOCOL, async (channel) => {
      // It is away until everybody else has had a turn.
      if (asked.size < members.length) throw new Error('away')
      served++
      await serve(a, channel)
    })
    for (const [i, peer] of members.entries()) {
      const lie = Object.values(liars)[i]
      await net.peer(peer).handle(SYNC_PROTOCOL, async (channel) => {
        asked.add(peer)
        await lie?.(a, channel)
      })
    }
    const refusals = new Refusals()
    const backfill = new Backfill({
      network: own,
      replica: d,
      clock: hasty,
      random: systemRandom,
      log: silentLogger,
      refusals
    })
    cleanup.later(() => backfill.stop())
    backfill.wake()
    await until('the history is whole', () => d.behind() == null, 40_000)
    ok(served > 0)
    equal(asked.size, members.length)
    equal(d.contradiction(), null)
    const reasons = new Set(refusals.all().map(({ protocol, reason }) => `${protocol} ${reason}`))
    for (const reason of ['malformed', 'silent', 'invalid']) ok(reasons.has(`sync ${reason}`), [...reasons].join())
    await pull(d, a)
    deepEqual(state(d), state(a))
    equal((await d.verify()).flaw, null)
  })
})
