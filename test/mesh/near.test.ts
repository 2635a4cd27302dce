import { deepEqual, equal, ok } from 'node:assert/strict'
import type { Connection, Stream } from '@libp2p/interface'
import * as fc from 'fast-check'
import type { Link } from '../../src/mesh/libp2p/connections.ts'
import { NearStreams } from '../../src/mesh/libp2p/near.ts'
import { gossipBacklogBytesMax, messageWholeMs, nearMessageBytesMax, nearRefusedMax } from '../../src/mesh/limits.ts'
import { MisspokenError } from '../../src/mesh/misspoken.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { pause } from './support.ts'

/** As much of a libp2p stream as is used; what is written on it is kept. */
class FakeStream extends EventTarget {
  status = 'open'
  writeStatus = 'writable'
  writeBufferLength = 0
  readonly sent: Uint8Array[] = []
  aborted: Error | null = null

  send(data: Uint8Array): boolean {
    this.sent.push(data)
    return true
  }

  arrive(data: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data }))
  }

  abort(reason: Error): void {
    this.aborted = reason
    this.end()
  }

  async close(): Promise<void> {
    this.end()
  }

  end(): void {
    this.status = this.writeStatus = 'closed'
    this.dispatchEvent(new Event('close'))
  }
}

describe('what is said to those who are connected', () => {
  const stream = (fake: FakeStream): Stream => fake as unknown as Stream

  function near(hear: (topic: string, data: Uint8Array, from: string) => boolean = () => true): {
    streams: NearStreams
    log: string[]
    clock: FakeClock
  } {
    const log: string[] = []
    const clock = new FakeClock()
    const streams = new NearStreams(clock, {
      onHearer: (peer) => log.push(`${peer} hears`),
      onDeaf: (peer) => log.push(`${peer} is deaf`),
      hear,
      onMisspoken: ({ name, message }) => log.push(`${name}: ${message}`)
    })
    return { streams, log, clock }
  }

  /** A connection whose streams are opened as `open` does. */
  function link(peer: string, open: () => Promise<FakeStream> | FakeStream): Link {
    const connection = { newStream: async () => open() } as unknown as Connection
    return { connection, peer, standing: 'member', direction: 'outbound', openedAt: 0, busy: false, tries: 0 }
  }

  /** What `say` puts on the stream of one peer. */
  async function said(messages: Array<[topic: string, data: Uint8Array]>): Promise<Buffer> {
    const { streams } = near()
    const out = new FakeStream()
    streams.connect(link('b', () => out))
    await pause(0)
    for (const [topic, data] of messages) streams.say(topic, data, ['b'])
    return Buffer.concat(out.sent)
  }

  it('is heard whole and in order, however its bytes arrive', async () => {
    const message = fc.tuple(fc.constantFrom('t', 'arctic/C/presence/1'), fc.uint8Array({ maxLength: 300 }))
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 6 }), fc.array(fc.nat(500)), async (messages, cuts) => {
        const heard: unknown[] = []
        const { streams } = near((topic, data, from) => heard.push([topic, Uint8Array.from(data), from]) > 0)
        const into = new FakeStream()
        streams.serve(stream(into), 'a')
        const bytes = await said(messages)
        let at = 0
        for (const cut of [...cuts, bytes.byteLength])
          into.arrive(bytes.subarray(at, (at = Math.min(bytes.length, at + cut))))
        deepEqual(
          heard,
          messages.map(([topic, data]) => [topic, data, 'a'])
        )
        equal(into.aborted, null)
      })
    )
  })

  it('ends the stream when it is garbage, too long, or too often what should not be said', async () => {
    const tooLong = Buffer.alloc(5)
    tooLong.writeUInt32BE(nearMessageBytesMax + 1)
    const topicBeyond = Buffer.from([0, 0, 0, 3, 9, 1, 1])
    for (const bytes of [tooLong, topicBeyond, Buffer.alloc(4), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const into = new FakeStream()
      const { streams, log } = near()
      streams.serve(stream(into), 'a')
      into.arrive(bytes)
      ok(into.aborted instanceof MisspokenError, bytes.toString('hex'))
      equal(log.length, 1)
    }
    let heard = 0
    const into = new FakeStream()
    near(() => ++heard < 0).streams.serve(stream(into), 'a')
    const bytes = await said([['t', new Uint8Array(3)]])
    for (let i = 0; i < nearRefusedMax; i++) into.arrive(bytes)
    equal(into.aborted, null)
    into.arrive(Buffer.concat([bytes, bytes, bytes]))
    ok(into.aborted != null)
    equal(heard, nearRefusedMax + 1)
  })

  it('ends the stream of who begins a message and does not end it, and of nobody else', async () => {
    const bytes = await said([['t', new Uint8Array(100)]])
    const { streams, log, clock } = near()
    const [halting, slow, quiet, cut] = [new FakeStream(), new FakeStream(), new FakeStream(), new FakeStream()]
    for (const one of [halting, slow, quiet, cut]) streams.serve(stream(one), 'a')
    // Half a message behind a whole one, then nothing.
    halting.arrive(Buffer.concat([bytes, bytes.subarray(0, 50)]))
    quiet.arrive(bytes)
    cut.arrive(bytes.subarray(0, 3))
    cut.dispatchEvent(new Event('remoteCloseWrite'))
    // Never done with one, yet each is whole soon.
    for (let i = 0; i < 8; i++) {
      slow.arrive(i === 0 ? bytes.subarray(0, 50) : Buffer.concat([bytes.subarray(50), bytes.subarray(0, 50)]))
      await clock.advance(messageWholeMs / 4)
    }
    deepEqual(
      [halting, slow, quiet, cut].map(({ aborted }) => aborted?.name),
      ['TimedOutError', undefined, undefined, 'MisspokenError']
    )
    equal(log.length, 2)
    slow.end()
    equal(clock.pending, 0)
  })

  it('goes over one stream for each peer, which is opened anew when it has ended', async () => {
    const { streams, log } = near()
    const opened: FakeStream[] = []
    const to = link('b', () => opened[opened.push(new FakeStream()) - 1]!)
    for (let i = 0; i < 3; i++) streams.connect(to)
    equal(streams.hears('b'), false)
    await pause(0)
    streams.connect(to)
    deepEqual([opened.length, streams.hears('b'), log], [1, true, ['b hears']])
    opened[0]!.end()
    equal(streams.hears('b'), false)
    streams.say('t', new Uint8Array(1), ['b', 'somebody else'])
    streams.connect(to)
    await pause(0)
    streams.say('t', new Uint8Array(1), ['b', 'somebody else'])
    deepEqual([opened.map(({ sent }) => sent.length), log.length], [[0, 1], 2])
  })

  it('is not asked of an older version twice, and once more where opening a stream has failed', async () => {
    const { streams, log } = near()
    let asked = 0
    const fail = (name: string) => () => {
      asked++
      throw Object.assign(new Error(name), { name })
    }
    const old = link('old', fail('UnsupportedProtocolError'))
    const lossy = link('lossy', fail('TimeoutError'))
    for (let i = 0; i < 3; i++) {
      streams.connect(old)
      streams.connect(lossy)
      await pause(0)
    }
    deepEqual([asked, log, streams.isDeaf('old'), streams.isDeaf('lossy')], [4, ['old is deaf'], true, false])
    streams.disconnected('old')
    streams.connect(link('old', fail('UnsupportedProtocolError')))
    await pause(0)
    equal(asked, 5)
  })

  it('is left out for a peer that does not read, and for nobody else', async () => {
    const { streams } = near()
    const [slow, fast] = [new FakeStream(), new FakeStream()]
    streams.connect(link('slow', () => slow))
    streams.connect(link('fast', () => fast))
    await pause(0)
    slow.writeBufferLength = gossipBacklogBytesMax
    streams.say('t', new Uint8Array(9), ['slow', 'fast'])
    deepEqual([slow.sent.length, fast.sent.length], [0, 1])
  })

  it('leaves no stream to a peer that went while it was opened', async () => {
    const { streams, log } = near()
    const opened = new FakeStream()
    const { promise, resolve } = Promise.withResolvers<FakeStream>()
    streams.connect(link('b', () => promise))
    streams.disconnected('b')
    resolve(opened)
    await pause(0)
    ok(opened.aborted != null)
    deepEqual([streams.hears('b'), log], [false, []])
  })
})
