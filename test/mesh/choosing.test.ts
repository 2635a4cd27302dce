import { deepEqual, equal, rejects } from 'node:assert/strict'
import { handle, select } from '@libp2p/multistream-select'
import type { Stream } from '@libp2p/interface'
import { streamPair } from '@libp2p/utils'
import * as fc from 'fast-check'
import { answerAtOnce, ask } from '../../src/mesh/libp2p/choosing.ts'

const HEADER = '\x13/multistream/1.0.0\n'
const long = `/long/${'x'.repeat(130)}/1.0.0`
const served = ['/a/1.0.0', '/b/1.0.0', long]
const lineOf = (name: string): string => {
  const length = name.length + 1
  return (
    (length < 0x80
      ? String.fromCodePoint(length)
      : String.fromCodePoint(0x80 | (length & 0x7f)) + String.fromCodePoint(length >> 7)) + `${name}\n`
  )
}
const signal = (): AbortSignal => AbortSignal.timeout(2_000)

/** All that comes, message by message, from now on. */
function heardOn(stream: Stream): string[] {
  const heard: string[] = []
  stream.addEventListener('message', ({ data }) => void heard.push(Buffer.from(data.subarray()).toString('latin1')))
  return heard
}
const say = (stream: Stream, text: string): boolean => stream.send(Buffer.from(text, 'latin1'))
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

describe('a choice in one message', () => {
  for (const protocol of served) {
    it(`is understood by libp2p on either side: ${protocol.slice(0, 8)}`, async () => {
      const [a, b] = await streamPair()
      const answering = handle(b, served, { signal: signal() })
      await ask(a, protocol, { signal: signal() })
      equal(await answering, protocol)
      const [c, d] = await streamPair()
      const asking = select(c, protocol, { signal: signal() })
      equal(await answerAtOnce(d, served, { signal: signal() }), protocol)
      equal(await asking, protocol)
    })
  }

  it('is one each way, and what comes behind it stays in the stream', async () => {
    const [a, b] = await streamPair()
    const answers = heardOn(a)
    say(a, `${HEADER}${lineOf('/b/1.0.0')}early`)
    equal(await answerAtOnce(b, served, { signal: signal() }), '/b/1.0.0')
    const rest = heardOn(b)
    say(a, ' and late')
    await settled()
    deepEqual(answers, [HEADER + lineOf('/b/1.0.0')])
    equal(rest.join(''), 'early and late')
  })

  it('is left to libp2p, with all bytes, when it is asked for in any other way', async () => {
    const other = fc.oneof(
      fc.constantFrom(HEADER, HEADER + lineOf('/c/1.0.0'), lineOf('/a/1.0.0'), HEADER.slice(0, 5), `${HEADER}\x03ls\n`),
      fc.string({ unit: 'binary-ascii', minLength: 1 })
    )
    await fc.assert(
      fc.asyncProperty(other, async (text) => {
        const [a, b] = await streamPair({ delay: 0 })
        say(a, text)
        equal(await answerAtOnce(b, served, { signal: signal() }), null)
        const left = heardOn(b)
        await new Promise((resolve) => setTimeout(resolve, 2))
        equal(left.join(''), text)
      }),
      { numRuns: 50 }
    )
  })

  it('is taken in two answers, as libp2p gives them, and in any pieces', async () => {
    const answer = HEADER + lineOf('/a/1.0.0')
    for (let cut = 1; cut < answer.length; cut++) {
      const [a, b] = await streamPair({ delay: 0 })
      const asking = ask(a, '/a/1.0.0', { signal: signal() })
      say(b, answer.slice(0, cut))
      await settled()
      say(b, `${answer.slice(cut)}hello`)
      await asking
      const rest = heardOn(a)
      await settled()
      equal(rest.join(''), 'hello')
    }
  }).timeout(10_000)

  it('fails by name where the other side has it not, and at once for anything else', async () => {
    const [a, b] = await streamPair()
    const answering = handle(b, served, { signal: signal() }).catch(() => {})
    await rejects(ask(a, '/none/1.0.0', { signal: signal() }), { name: 'UnsupportedProtocolError' })
    a.abort(new Error('over'))
    await answering
    for (const text of ['\xff\xff', 'x', `${HEADER}\x03no\n`, `${HEADER}${lineOf('/b/1.0.0')}`]) {
      const [c, d] = await streamPair()
      const asking = ask(c, '/a/1.0.0', { signal: signal() })
      say(d, text)
      await rejects(asking, /answered with something else/)
    }
  })

  it('ends when the other side does, and when it is given up', async () => {
    const [a, b] = await streamPair()
    const answering = answerAtOnce(b, served, { signal: signal() })
    a.abort(new Error('gone'))
    await rejects(answering, /ended while its protocol was chosen/)
    const [c] = await streamPair()
    await rejects(ask(c, '/a/1.0.0', { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' })
  })
})
