import { deepEqual, equal, ok } from 'node:assert/strict'
import * as fc from 'fast-check'
import { signerFromSeed } from '../../src/crdt/signer.ts'
import { silentLogger } from '../../src/log.ts'
import {
  beatBytesMax,
  beatCoalesceMs,
  apartMs,
  beatMs,
  beatsMissedMax,
  discoveredMax,
  twinOverlapMs,
  twinTtlMs
} from '../../src/mesh/limits.ts'
import type { Network } from '../../src/mesh/network.ts'
import { Beacon } from '../../src/mesh/presence/beacon.ts'
import {
  beatIntervalMs,
  beatSignedBy,
  encodeBeat,
  headsBeatGapMs,
  parseBeat,
  type Beat
} from '../../src/mesh/presence/beat.ts'
import { Presence } from '../../src/mesh/presence/presence.ts'
import { Roster } from '../../src/mesh/presence/roster.ts'
import { Twins } from '../../src/mesh/presence/twins.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { systemRandom } from '../../src/random.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

const signer = signerFromSeed(new Uint8Array(32).fill(7))
const peer = signer.peerId
const beat = (change: Partial<Beat> = {}): Beat => ({
  peer,
  incarnation: 10,
  counter: 1,
  sentAt: Date.UTC(2026, 0, 1),
  everyMs: beatMs,
  version: '1.2.3',
  heads: ['aa', 'bb'],
  vector: 'digest',
  report: { incarnation: 10, seq: 3 },
  twins: [],
  ...change
})

describe('presence', () => {
  describe('a beat', () => {
    it('is read as it was written, and is its author’s in its cluster alone', () => {
      const message = encodeBeat('cluster', beat(), signer)
      deepEqual(parseBeat(message), beat())
      equal(beatSignedBy('cluster', message, peer), true)
      equal(beatSignedBy('another', message, peer), false)
      equal(beatSignedBy('cluster', message, signerFromSeed(new Uint8Array(32).fill(8)).peerId), false)
    })

    it('is refused after any change of a byte', () => {
      const message = encodeBeat('cluster', beat(), signer)
      fc.assert(
        fc.property(fc.nat(message.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
          const changed = Uint8Array.from(message)
          changed[at]! ^= flip
          return parseBeat(changed) == null || !beatSignedBy('cluster', changed, peer)
        })
      )
    })

    it('that is garbage is none, whatever it is', () => {
      fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => parseBeat(bytes) == null))
      fc.assert(
        fc.property(fc.jsonValue(), (value) => {
          const message = Buffer.concat([Buffer.alloc(64), Buffer.from(JSON.stringify(value))])
          return parseBeat(message) == null
        })
      )
      equal(parseBeat(new Uint8Array(beatBytesMax + 1)), null)
    })

    it('comes less often the more members there are, so that their sum stays bounded', () => {
      deepEqual([2, 100, 200, 1_000].map(beatIntervalMs), [1_000, 1_000, 2_000, 10_000])
      deepEqual([5, 14, 20, 1_000].map(headsBeatGapMs), [500, 500, 1_000, 10_000])
    })
  })

  describe('twins', () => {
    const other = signerFromSeed(new Uint8Array(32).fill(8)).peerId
    const at = (clock: FakeClock): Twins => new Twins({ self: other, incarnation: 50, clock })
    /** A second of beats. */
    const tick = async (clock: FakeClock, twins: Twins, ...beats: Beat[]): Promise<void> => {
      for (const one of beats) twins.heard(one)
      await clock.advance(1_000)
    }

    it('are two incarnations that beat beside each other, and nobody once one is silent', async () => {
      const clock = new FakeClock()
      const twins = at(clock)
      let counter = 0
      for (; twins.found().length === 0; counter++) {
        ok(counter < 10, 'not found')
        await tick(clock, twins, beat({ counter }), beat({ incarnation: 20, counter }))
      }
      deepEqual(twins.found(), [{ peer, incarnations: [10, 20], saidBy: null }])
      deepEqual(twins.statement(), [[peer, 10, 20]])
      for (let second = 0; second < twinTtlMs / 1_000; second++) {
        await tick(clock, twins, beat({ incarnation: 20, counter: counter++ }))
      }
      deepEqual(twins.found(), [])
    })

    it('are not a restart, nor a late beat of before it, nor beats that are repeated', async () => {
      const clock = new FakeClock()
      const twins = at(clock)
      for (let counter = 0; counter < 20; counter++) await tick(clock, twins, beat({ counter }))
      const late = beat({ counter: 20 })
      for (let counter = 0; counter < 20; counter++) {
        const echo = counter < twinOverlapMs / 1_000 ? [late, beat({ counter: 19 })] : [beat({ counter: 19 }), late]
        await tick(clock, twins, beat({ incarnation: 20, counter }), ...echo)
      }
      deepEqual(twins.found(), [])
    })

    it('know of each other by who hears both, even if they never meet', async () => {
      const clock = new FakeClock()
      const twins = at(clock)
      twins.heard(beat({ twins: [[other, 50, 70]] }))
      deepEqual(twins.found(), [{ peer: other, incarnations: [50, 70], saidBy: peer }])
      // What is said of others, or of two starts that are not this one, is nothing to this peer.
      const third = at(clock)
      third.heard(
        beat({
          twins: [
            [peer, 50, 70],
            [other, 1, 2]
          ]
        })
      )
      deepEqual(third.found(), [])
    })

    it('know each other by their own beats, when one reaches the other', async () => {
      const clock = new FakeClock()
      const twins = at(clock)
      for (let counter = 0; counter < 8; counter++)
        await tick(clock, twins, beat({ peer: other, incarnation: 60, counter }))
      deepEqual(twins.found(), [{ peer: other, incarnations: [60, 50], saidBy: null }])
    })
  })

  describe('the beacon', () => {
    it('beats about once a second, and soon after a change, once for several', async () => {
      const clock = new FakeClock()
      let beats = 0
      const beacon = new Beacon({ clock, random: systemRandom, members: () => 5, send: () => beats++ })
      beacon.start()
      equal(beats, 1)
      await clock.advance(10_000)
      ok(beats >= 9 && beats <= 13, `${beats}`)
      const before = beats
      beacon.changed()
      beacon.changed()
      beacon.headsChanged()
      await clock.advance(beatCoalesceMs)
      equal(beats, before + 1)
      beacon.stop()
      beacon.changed()
      equal(clock.pending, 0)
    })

    it('does not answer each change of heads in a big cluster', async () => {
      const clock = new FakeClock()
      let beats = 0
      const beacon = new Beacon({ clock, random: systemRandom, members: () => 100, send: () => beats++ })
      beacon.start()
      for (let i = 0; i < 100; i++) {
        beacon.headsChanged()
        await clock.advance(10)
      }
      ok(beats <= 3, `${beats}`)
      beacon.stop()
    })
  })

  describe('a connection', () => {
    const beatsFor = async (members: number): Promise<number> => {
      const clock = new FakeClock()
      let beats = 0
      const beacon = new Beacon({ clock, random: systemRandom, members: () => members, send: () => beats++ })
      beacon.start()
      for (let i = 0; i < 100; i++) {
        beacon.connected()
        await clock.advance(10)
      }
      beacon.stop()
      return beats
    }

    it('is greeted by a beat that nobody else gets; all get one where it cannot be told alone', async () => {
      const clock = new FakeClock()
      const log: string[] = []
      let onSubscriber: ((peer: string) => void) | undefined
      const network = {
        self: peer,
        connected: () => ['new', 'old', 'other'],
        subscribe: (_: string, options: Parameters<Network['subscribe']>[1]) => {
          onSubscriber = options.onSubscriber
          return () => {}
        },
        publish: async (_: string, data: Uint8Array) => void log.push(`beat ${parseBeat(data)?.counter} to all`),
        tell: (_: string, data: Uint8Array, to: string) => {
          if (to !== 'old') log.push(`beat ${parseBeat(data)?.counter} to ${to}`)
          return to !== 'old'
        }
      }
      const isMember = (): boolean => true
      const roster = new Roster({ clock, isMember, events: { onChange: () => {}, onSilent: () => {} } })
      const { version, heads, vector, report, twins } = beat()
      const presence = new Presence({
        network: network as unknown as Network,
        signer,
        clock,
        random: systemRandom,
        log: silentLogger,
        refusals: new Refusals(),
        incarnation: 10,
        roster,
        members: () => 4,
        audience: () => 'connected',
        isMember,
        statement: () => ({ version, heads, vector, report, twins }),
        onBeat: () => {},
        onAnyBeat: () => {}
      })
      presence.start('cluster')
      await clock.advance(200)
      deepEqual(log.splice(0), ['beat 1 to all'])
      onSubscriber?.('new')
      onSubscriber?.('other')
      await clock.advance(200)
      deepEqual(log.splice(0), ['beat 2 to new', 'beat 2 to other'])
      onSubscriber?.('old')
      await clock.advance(2 * beatCoalesceMs)
      presence.stop()
      deepEqual(log.at(-1), 'beat 4 to all')
    })

    it('of an older version is greeted by a beat to all at once, but not each of hundreds that come up together', async () => {
      const clock = new FakeClock()
      let beats = 0
      const beacon = new Beacon({ clock, random: systemRandom, members: () => 5, send: () => beats++ })
      beacon.start()
      await clock.advance(300)
      beacon.connected()
      await clock.advance(beatCoalesceMs)
      equal(beats, 2)
      beacon.stop()
      ok((await beatsFor(5)) > 10, 'a small cluster can afford it')
      ok((await beatsFor(1_000)) <= 2, 'a big one cannot')
    })
  })

  describe('the roster', () => {
    const make = (isMember = (id: string): boolean => id === peer) => {
      const clock = new FakeClock()
      const log: string[] = []
      const roster: Roster = new Roster({
        clock,
        isMember,
        events: {
          onChange: (id) => log.push(`${id === peer ? 'peer' : id} ${roster.isReachable(id)}`),
          onSilent: () => log.push('silent')
        }
      })
      const wait = async (ms: number): Promise<void> => {
        for (let passed = 0; passed < ms; passed += beatMs / 4) {
          await clock.advance(beatMs / 4)
          roster.evaluate()
        }
      }
      return { clock, roster, log, wait }
    }

    it('holds a peer reachable while beats come and the connection stands', async () => {
      const { roster, log, wait } = make()
      roster.heard(beat())
      equal(roster.isReachable(peer), false)
      roster.connected(peer)
      equal(roster.isReachable(peer), true)
      roster.disconnected(peer)
      equal(roster.isReachable(peer), false)
      roster.connected(peer)
      await wait(beatMs * beatsMissedMax)
      equal(roster.isReachable(peer), true)
      await wait(beatMs / 4)
      equal(roster.isReachable(peer), false)
      deepEqual(log.slice(-2).sort(), ['peer false', 'silent'])
      roster.heard(beat({ counter: 2 }))
      equal(roster.isReachable(peer), true)
    })

    it('does not call anybody silent for its own stall', async () => {
      const { clock, roster, wait } = make()
      roster.connected(peer)
      roster.heard(beat())
      await clock.advance(20_000)
      roster.evaluate()
      equal(roster.isReachable(peer), true)
      await wait(beatMs * beatsMissedMax + 1)
      equal(roster.isReachable(peer), false)
    })

    it('takes no beat twice and no older one, unless the peer has fallen silent', async () => {
      const { roster, wait } = make()
      roster.heard(beat({ counter: 5 }))
      equal(roster.isNews(beat({ counter: 5 })), false)
      equal(roster.isNews(beat({ counter: 4 })), false)
      equal(roster.isNews(beat({ incarnation: 9, counter: 99 })), false)
      equal(roster.isNews(beat({ counter: 6 })), true)
      equal(roster.isNews(beat({ incarnation: 11, counter: 1 })), true)
      await wait(beatMs * beatsMissedMax + 500)
      equal(roster.isNews(beat({ incarnation: 9, counter: 1 })), true)
      equal(roster.isNews(beat({ counter: 5 })), false)
    })

    it('takes a member for apart when it is heard of for longer than a connection takes', async () => {
      const { roster, wait } = make()
      equal(roster.isApart(peer), false)
      roster.heard(beat())
      equal(roster.isApart(peer), false)
      await wait(apartMs)
      equal(roster.isApart(peer), true)
      roster.connected(peer)
      equal(roster.isApart(peer), false)
      await wait(apartMs)
      roster.heard(beat({ counter: 2 }))
      roster.disconnected(peer)
      equal(roster.isApart(peer), false)
      await wait(apartMs)
      equal(roster.isApart(peer), true)
      await wait(beatMs * beatsMissedMax)
      equal(roster.isApart(peer), false)
    })

    it('tells only of beats that change something', () => {
      const { roster, log } = make()
      roster.connected(peer)
      roster.heard(beat())
      log.length = 0
      roster.heard(beat({ counter: 2 }))
      deepEqual(log, [])
      roster.heard(beat({ counter: 3, heads: ['cc'] }))
      roster.heard(beat({ counter: 4, heads: ['cc'], report: { incarnation: 10, seq: 4 } }))
      deepEqual(log, ['peer true', 'peer true'])
    })

    it('remembers a bounded number of strangers, the latest ones', () => {
      const { roster } = make()
      roster.heard(beat())
      for (let i = 0; i < discoveredMax + 10; i++) roster.stranger(`stranger-${i}`, [])
      equal(roster.peers().length, discoveredMax + 1)
      ok(roster.peers().includes(peer))
      ok(!roster.peers().includes('stranger-0'))
      ok(roster.peers().includes(`stranger-${discoveredMax + 9}`))
    })

    it('knows how far a clock is off from the least delay and half the round trip', () => {
      const { clock, roster } = make()
      equal(roster.clockOffsetMs(peer), 0)
      roster.heard(beat({ sentAt: clock.now() - 530 }))
      roster.heard(beat({ counter: 2, sentAt: clock.now() - 510 }))
      roster.measured(peer, 20)
      equal(roster.clockOffsetMs(peer), 500)
    })
  })
})
