import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import * as fc from 'fast-check'
import { TypedEventEmitter, type Logger } from '@libp2p/interface'
import { LengthPrefixedDecoder } from '@libp2p/utils'
import { StreamState, YamuxStream } from '@libp2p/yamux/stream'
import { multiaddr } from '@multiformats/multiaddr'
import { dialFirst } from '../../src/mesh/libp2p/dial.ts'
import { hostOf } from '../../src/mesh/libp2p/doorkeeper.ts'
import { spareIdleWork } from '../../src/mesh/libp2p/idle-work.ts'
import { keeper } from '../../src/mesh/libp2p/keeper.ts'
import { dialable } from '../../src/mesh/libp2p/listen.ts'
import { grantWindowsByHalves } from '../../src/mesh/libp2p/window-updates.ts'
import { crossedDialMs, dialAddressTimeoutMs, dialStaggerMs, quietLogMs } from '../../src/mesh/limits.ts'
import { QuietLog } from '../../src/mesh/quiet-log.ts'
import { Slots } from '../../src/mesh/slots.ts'
import { silentLogger } from '../../src/log.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('which connection stays', () => {
  const flip = { inbound: 'outbound', outbound: 'inbound' } as const

  it('is the same for both ends, whatever connections there are', () => {
    const connections = fc.uniqueArray(
      fc.record({ direction: fc.constantFrom('inbound', 'outbound'), openedAt: fc.nat(10_000), id: fc.nat() }),
      { minLength: 1, selector: ({ openedAt }) => openedAt }
    )
    fc.assert(
      fc.property(connections, (mine) => {
        const theirs = mine.map((one) => ({ ...one, direction: flip[one.direction] }))
        return keeper(mine, 'a', 'b')?.id === keeper(theirs, 'b', 'a')?.id
      })
    )
  })

  it('is the smaller id’s when dials crossed, else the newest', () => {
    const [inbound, outbound] = (['inbound', 'outbound'] as const).map((direction) => (openedAt: number) => ({
      direction,
      openedAt
    }))
    deepEqual(keeper([inbound!(5), outbound!(0)], 'a', 'b'), outbound!(0))
    deepEqual(keeper([inbound!(5), outbound!(0)], 'b', 'a'), inbound!(5))
    deepEqual(keeper([inbound!(crossedDialMs + 1), outbound!(0)], 'a', 'b'), inbound!(crossedDialMs + 1))
    equal(keeper([], 'a', 'b'), undefined)
  })
})

describe('dialling several addresses', () => {
  const peer = 'peer'
  const addresses = ['/ip4/192.0.2.1/tcp/1', '/ip4/192.0.2.2/tcp/1', '/ip4/192.0.2.3/tcp/1']
  const never = (_: unknown, signal: AbortSignal): Promise<string> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('given up'))))

  it('goes on to the next after a moment, and gives the others up', async () => {
    const clock = new FakeClock()
    let givenUp = 0
    const dialling = dialFirst(peer, addresses, {
      clock,
      signal: AbortSignal.timeout(5_000),
      connect: async (address, signal) => {
        if (address.toString().includes('.2/')) return address.toString()
        signal.addEventListener('abort', () => givenUp++)
        return never(address, signal)
      }
    })
    await clock.advance(dialStaggerMs)
    equal(await dialling, addresses[1])
    await clock.settle()
    equal(givenUp, 1)
    equal(clock.pending, 0)
  })

  it('says of each address why it failed', async () => {
    const clock = new FakeClock()
    const connect = async (address: { toString(): string }, signal: AbortSignal): Promise<string> => {
      if (address.toString().includes('.1/')) throw Object.assign(new Error('x'), { code: 'ECONNREFUSED' })
      return never(address, signal)
    }
    const dialling = dialFirst(peer, addresses.slice(0, 2), { clock, signal: AbortSignal.timeout(5_000), connect })
    const refused = rejects(dialling, (error: Error) => {
      match(error.message, /192\.0\.2\.1\/tcp\/1 \(connection refused\), .*192\.0\.2\.2\/tcp\/1 \(timed out\)/)
      return true
    })
    await clock.advance(dialStaggerMs + dialAddressTimeoutMs)
    await refused
    await rejects(dialFirst(peer, [], { clock, signal: AbortSignal.timeout(5_000), connect }), /no address to dial/)
  })

  it('ends with the signal', async () => {
    const stop = new AbortController()
    const dialling = dialFirst(peer, addresses, { clock: new FakeClock(), signal: stop.signal, connect: never })
    stop.abort(new Error('enough'))
    await rejects(dialling, /enough/)
  })
})

describe('addresses', () => {
  it('count as one source: an IPv4 address, an IPv6 /64', () => {
    for (const [address, host] of [
      ['/ip4/192.0.2.1/tcp/1', '192.0.2.1'],
      ['/ip6/2001:db8:1:2:3:4:5:6/tcp/1', '2001:db8:1:2::/64'],
      ['/ip6/2001:db8::6/tcp/1', '2001:db8:0:0::/64'],
      ['/ip6/::1/tcp/1', '0:0:0:0::/64']
    ] as const) {
      equal(hostOf(multiaddr(address)), host)
    }
  })

  it('to dial leave loopback out unless there is nothing else', () => {
    const loopback = ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/2']
    deepEqual(dialable([...loopback, '/ip4/10.0.0.1/tcp/1'], []), ['/ip4/10.0.0.1/tcp/1'])
    deepEqual(dialable(loopback, []), loopback)
    deepEqual(dialable([...loopback], ['mesh.example', '2001:db8::1']), [
      '/dns/mesh.example/tcp/1',
      '/ip6/2001:db8::1/tcp/2'
    ])
  })
})

describe('Slots', () => {
  it('has at most so many holders, the others in order; who gives up waiting loses nothing for the rest', async () => {
    const slots = new Slots(1)
    const signal = AbortSignal.timeout(1_000)
    const first = await slots.take({ signal })
    const stop = new AbortController()
    const impatient = slots.take({ signal: stop.signal })
    const second = slots.take({ signal })
    equal(slots.tryTake(), null)
    stop.abort(new Error('no time'))
    await rejects(impatient, /no time/)
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    const held = await second
    equal(slots.tryTake(), null)
    held[Symbol.dispose]()
    equal(slots.tryTake() == null, false)
  })
})

describe('QuietLog', () => {
  it('says each reason once a minute, with the number left out', async () => {
    const clock = new FakeClock()
    const lines: unknown[] = []
    const log = new QuietLog(clock, { ...silentLogger, info: (fields, message) => void lines.push([message, fields]) })
    for (let i = 0; i < 1_000; i++) log.info('garbage', { i })
    log.info('other')
    await clock.advance(quietLogMs)
    log.info('garbage', { i: 'later' })
    deepEqual(lines, [
      ['garbage', { i: 0, suppressed: 0 }],
      ['other', { suppressed: 0 }],
      ['garbage', { i: 'later', suppressed: 999 }]
    ])
  })
})

describe('the window of a yamux stream', () => {
  /** Types of frames. */
  const [DATA, WINDOW_UPDATE] = [0, 1]

  it('is granted anew when half of it is used up, not with each message', () => {
    grantWindowsByHalves()
    grantWindowsByHalves()
    const granted: number[] = []
    const silent = (): void => {}
    const logger = Object.assign(silent, {
      error: silent,
      trace: silent,
      enabled: false,
      newScope: () => logger
    }) as Logger
    const stream = new YamuxStream({
      id: '1',
      streamId: 1,
      direction: 'inbound',
      log: logger,
      state: StreamState.SYNReceived,
      getRTT: () => -1,
      sendFrame: ({ type, length }) => {
        if (Number(type) === WINDOW_UPDATE) granted.push(length)
        return true
      }
    })
    const take = (length: number): void =>
      stream.handleData({
        header: { type: DATA, flag: 0, streamID: 1, length },
        data: new Uint8Array(length)
      } as unknown as Parameters<YamuxStream['handleData']>[0])
    stream.addEventListener('message', () => {})
    take(10)
    deepEqual(granted.splice(0), [10], 'the first grant opens the stream')
    const window = 256 * 1024
    for (let i = 0; i < 127; i++) take(1024)
    deepEqual(granted, [])
    take(1024)
    deepEqual(granted, [window / 2])
  })
})

describe('what libp2p does with each message for nobody', () => {
  const prefixed = (frames: Uint8Array[]): Buffer =>
    Buffer.concat(frames.flatMap((frame) => [Buffer.of(frame.length >> 8, frame.length & 255), frame]))

  const lengthIn = ([high, low]: Uint8Array): number => {
    if (high == null || low == null) throw new RangeError('there is none')
    return high * 256 + low
  }

  it('is spared: the length of a frame is not asked for where nothing is left', () => {
    spareIdleWork()
    spareIdleWork()
    let asked = 0
    const decoder = new LengthPrefixedDecoder({
      encodingLength: () => 2,
      lengthDecoder: (data) => {
        asked++
        return lengthIn(data.subarray())
      }
    })
    equal([...decoder.decode(prefixed([Buffer.from('one'), Buffer.from('two')]))].length, 2)
    equal(asked, 2)
  })

  it('and all frames come out whole, however they are cut', () => {
    spareIdleWork()
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 })), fc.array(fc.nat(9)), (frames, cuts) => {
        const decoder = new LengthPrefixedDecoder({
          encodingLength: () => 2,
          lengthDecoder: (data) => lengthIn(data.subarray())
        })
        const bytes = prefixed(frames)
        const found: number[][] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = at + 1 + (cuts[i] ?? 30)
          for (const frame of decoder.decode(bytes.subarray(at, end))) found.push([...frame.subarray()])
          at = end
        }
        deepEqual(
          found,
          frames.map((frame) => [...frame])
        )
      })
    )
  })

  it('and an event is made for who listens, and for nobody else', () => {
    spareIdleWork()
    const heard: string[] = []
    const emitter = new TypedEventEmitter<{ one: CustomEvent<string>; other: CustomEvent }>()
    const dispatched: string[] = []
    const { dispatchEvent } = emitter
    emitter.dispatchEvent = (event) => {
      dispatched.push(event.type)
      return dispatchEvent.call(emitter, event)
    }
    emitter.addEventListener('one', ({ detail }) => heard.push(detail), { once: true })
    for (let i = 0; i < 2; i++) {
      emitter.safeDispatchEvent('one', { detail: 'said' })
      emitter.safeDispatchEvent('other')
    }
    deepEqual([heard, dispatched], [['said'], ['one']])
  })
})
