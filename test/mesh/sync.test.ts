import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import * as fc from 'fast-check'
import { systemClock } from '../../src/clock.ts'
import type { EnvelopeBytes } from '../../src/crdt/replicated.ts'
import { syncSilenceMs, syncWindowBytes } from '../../src/mesh/limits.ts'
import type { Channel } from '../../src/mesh/network.ts'
import { frames, parseFrame, vectorDigest } from '../../src/mesh/sync/frame.ts'
import { nextFrame, transfer } from '../../src/mesh/sync/transfer.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { pause } from './support.ts'

/** Two ends of a channel in memory. `held` is what has been sent and not received yet, bytes. */
function channels(): [Channel & { held(): number }, Channel & { held(): number }] {
  const queues: Array<Array<Uint8Array | null>> = [[], []]
  const wakes: Array<() => void> = [() => {}, () => {}]
  const end = (own: 0 | 1): Channel & { held(): number } => {
    const other = own === 0 ? 1 : 0
    const put = (message: Uint8Array | null): void => {
      queues[other]!.push(message)
      wakes[other]!()
    }
    return {
      held: () => queues[other]!.reduce((sum, message) => sum + (message?.byteLength ?? 0), 0),
      send: async (message) => put(message),
      async receive({ signal }) {
        while (queues[own]!.length === 0) {
          await new Promise<void>((resolve, reject) => {
            wakes[own] = resolve
            signal.addEventListener('abort', () => reject(signal.reason))
          })
        }
        return queues[own]!.shift()!
      },
      close: async () => put(null),
      abort: () => put(null)
    }
  }
  return [end(0), end(1)]
}

const signal = (): AbortSignal => AbortSignal.timeout(5_000)
const options = () => ({ clock: systemClock, signal: signal() })
const bytes = fc.uint8Array({ maxLength: 40 })

describe('sync frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 10 }), (envelopes) => {
        const frame = parseFrame(frames.batch(envelopes))
        ok(frame.type === 'batch')
        deepEqual(
          frame.envelopes.map((one) => [...one]),
          envelopes.map((one) => [...one])
        )
      })
    )
    const vector = { ab: 1, '0f': Number.MAX_SAFE_INTEGER }
    deepEqual({ ...(parseFrame(frames.vector(vector)) as { vector: object }).vector }, vector)
    for (const type of ['same', 'end', 'done', 'busy'] as const) deepEqual(parseFrame(frames[type]()), { type })
    deepEqual(parseFrame(frames.ack(70_000)), { type: 'ack', size: 70_000 })
  })

  it('are refused with a sentence when they are garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (garbage) => {
        try {
          parseFrame(garbage)
        } catch (error) {
          equal((error as { code: string }).code, 'invalid_request')
        }
      })
    )
    for (const vector of [
      '[]',
      'null',
      '{"x y":1}',
      '{"ab":-1}',
      '{"ab":1.5}',
      '{"ab":"1"}',
      '{',
      '{"ab":1,}',
      '{"ab":1}}',
      '{"ab":9007199254740992}'
    ]) {
      throws(() => parseFrame(Buffer.from(`V${vector}`)), { code: 'invalid_request' })
    }
    throws(() => parseFrame(frames.batch([new Uint8Array(9)]).subarray(0, -1)), /cut short/)
  })

  it('digest a vector whatever the order of its keys, apart for each cluster', () => {
    deepEqual(vectorDigest('c', { a: 1, b: 2 }), vectorDigest('c', { b: 2, a: 1 }))
    const all = [
      vectorDigest('c', { a: 1 }),
      vectorDigest('d', { a: 1 }),
      vectorDigest('c', { a: 2 }),
      vectorDigest('c', {})
    ]
    equal(new Set(all.map((one) => Buffer.from(one).toString('hex'))).size, 4)
  })
})

describe('a transfer', () => {
  it('brings each side what the other sent, in order', async () => {
    const sends = fc.array(fc.array(bytes, { minLength: 1, maxLength: 3 }), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(sends, sends, async (left, right) => {
        const [a, b] = channels()
        const got: [EnvelopeBytes[], EnvelopeBytes[]] = [[], []]
        const [fromA, fromB] = await Promise.all([
          transfer(a, left, async (batch) => void got[0].push(...batch), options()),
          transfer(b, right, async (batch) => void got[1].push(...batch), options())
        ])
        deepEqual([fromA.sent, fromB.sent], [left.flat().length, right.flat().length])
        deepEqual(
          got.map((all) => all.map((one) => [...one])),
          [right, left].map((all) => all.flat().map((one) => [...one]))
        )
      }),
      { numRuns: 50 }
    )
  })

  it('has at most one window under way when the other side’s disk is slow', async () => {
    const [a, b] = channels()
    const batch = [new Uint8Array(100_000)]
    let most = 0
    await Promise.all([
      transfer(
        a,
        Array.from({ length: 30 }, () => batch),
        async () => {},
        options()
      ),
      transfer(
        b,
        [],
        async () => {
          most = Math.max(most, a.held())
          await pause(1)
        },
        options()
      )
    ])
    ok(most > 100_000 && most <= syncWindowBytes, `${most}`)
  })

  it('ends on both sides when one cannot store, closes early or speaks out of turn', async () => {
    {
      const [a, b] = channels()
      const many = Array.from({ length: 20 }, () => [new Uint8Array(100_000)])
      const receiving = transfer(b, [], async () => Promise.reject(new Error('disk full')), options()).catch(
        (error: Error) => {
          b.abort(error)
          throw error
        }
      )
      const sending = transfer(a, many, async () => {}, options())
      await rejects(receiving, /disk full/)
      await rejects(sending, /closed the stream/)
    }
    {
      const [a, b] = channels()
      await b.send(frames.same())
      await rejects(
        transfer(a, [], async () => {}, options()),
        /out of turn/
      )
    }
  })

  it('gives up a side that says nothing', async () => {
    const clock = new FakeClock()
    const [a] = channels()
    const waiting = nextFrame(a, clock, { signal: signal() })
    const refused = rejects(waiting, { name: 'TimedOutError' })
    await clock.advance(syncSilenceMs)
    await refused
    equal(clock.pending, 0)
  })
})
