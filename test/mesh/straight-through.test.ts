import { deepEqual, equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import type { Logger } from '@libp2p/interface'
import { AbstractMessageStream } from '@libp2p/utils'
import * as fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import { goStraightThrough } from '../../src/mesh/libp2p/straight-through.ts'
import { pause } from './support.ts'

const silent = (): void => {}
const log = Object.assign(silent, {
  error: silent,
  trace: silent,
  enabled: false,
  newScope: () => log
}) as unknown as Logger

/** A stream whose lower end takes so many bytes at a time, and then no more until it is drained. */
class Pipe extends AbstractMessageStream {
  readonly sent: number[][] = []
  takesMax = Infinity
  canSendMore = true
  onSend: () => void = silent

  constructor(maxMessageSize?: number) {
    super({ log, ...(maxMessageSize == null ? {} : { maxMessageSize }) })
  }

  sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean } {
    const sentBytes = Math.min(data.byteLength, this.takesMax)
    this.sent.push([...data.subarray(0, sentBytes)])
    data.consume(data.byteLength)
    this.onSend()
    return { sentBytes, canSendMore: this.canSendMore && sentBytes === this.sent.at(-1)?.length }
  }

  async close(): Promise<void> {}
  sendReset(): void {}
  sendPause(): void {}
  sendResume(): void {}

  /** What waits in its queues, which nobody else sees. */
  queued(): [read: number, write: number] {
    return [this.readBufferLength, this.writeBufferLength]
  }
}

describe('a stream with nothing in its queues', () => {
  before(() => {
    goStraightThrough()
    goStraightThrough()
  })

  const bytes = (text: string): Uint8Array => Buffer.from(text)
  const text = (data: Uint8Array | Uint8ArrayList): string => Buffer.from(data.subarray()).toString()

  it('sends all bytes once and in their order, whatever its lower end takes', () => {
    const step = fc.record({ data: fc.uint8Array({ maxLength: 20 }), takes: fc.integer({ min: 1, max: 30 }) })
    fc.assert(
      fc.property(fc.array(step), fc.constantFrom(undefined, 5), fc.boolean(), (steps, messageMax, inLists) => {
        const pipe = new Pipe(messageMax)
        for (const { data, takes } of steps) {
          pipe.takesMax = takes
          pipe.send(inLists ? new Uint8ArrayList(data.subarray(0, 3), data.subarray(3)) : data)
        }
        pipe.takesMax = Infinity
        pipe.safeDispatchEvent('drain')
        const last = pipe as unknown as { writableNeedsDrain: boolean; processSendQueue(): boolean }
        last.writableNeedsDrain = false
        last.processSendQueue()
        deepEqual(
          pipe.sent.flat(),
          steps.flatMap(({ data }) => [...data])
        )
        if (messageMax != null) ok(pipe.sent.every(({ length }) => length <= messageMax))
      })
    )
  })

  it('keeps what is sent while it is full, and what is sent while it sends comes after', async () => {
    const pipe = new Pipe()
    pipe.canSendMore = false
    equal(pipe.send(bytes('one')), false)
    equal(pipe.send(bytes('two')), false)
    deepEqual(pipe.queued(), [0, 3])
    pipe.canSendMore = true
    pipe.safeDispatchEvent('drain')
    await pause(0)
    deepEqual(
      pipe.sent.map((data) => text(Uint8Array.from(data))),
      ['one', 'two']
    )
    pipe.onSend = () => {
      pipe.onSend = silent
      equal(pipe.send(bytes('within')), true)
    }
    equal(pipe.send(bytes('outer')), true)
    deepEqual(
      pipe.sent.slice(2).map((data) => text(Uint8Array.from(data))),
      ['outer', 'within']
    )
    deepEqual(pipe.queued(), [0, 0])
  })

  it('leaves the list that it is given as it was', () => {
    const list = new Uint8ArrayList(bytes('a'), bytes('b'))
    const pipe = new Pipe()
    pipe.send(list)
    equal(text(list), 'ab')
  })

  it('hands what comes to its one listener, and to each of several', () => {
    const pipe = new Pipe()
    const heard: string[] = []
    pipe.onData(bytes('early '))
    const first = ({ data }: { data: Uint8Array | Uint8ArrayList }): unknown => heard.push(`1 ${text(data)}`)
    const second = ({ data }: { data: Uint8Array | Uint8ArrayList }): unknown => heard.push(`2 ${text(data)}`)
    pipe.addEventListener('message', first)
    pipe.onData(bytes('one'))
    deepEqual(heard.splice(0), ['1 early one'])
    const events: string[] = []
    const { dispatchEvent } = pipe
    pipe.dispatchEvent = (event) => {
      events.push(event.type)
      return dispatchEvent.call(pipe, event)
    }
    pipe.onData(bytes('two'))
    deepEqual(events, [], 'no event is made for one listener')
    pipe.addEventListener('message', second)
    pipe.addEventListener('message', second)
    pipe.onData(bytes('three'))
    deepEqual(heard.splice(0), ['1 two', '1 three', '2 three'])
    pipe.removeEventListener('message', first)
    pipe.onData(bytes('four'))
    deepEqual(heard.splice(0), ['2 four'])
    pipe.addEventListener('message', first, { once: true })
    pipe.onData(bytes('five'))
    pipe.onData(bytes('six'))
    deepEqual(heard.splice(0), ['2 five', '1 five', '2 six'])
    pipe.removeEventListener('message', second)
    pipe.onData(bytes('nobody'))
    deepEqual(heard, [])
    deepEqual(pipe.queued(), [6, 0])
  })

  it('hands out nothing while it is paused, and all of it after', () => {
    const pipe = new Pipe()
    const heard: string[] = []
    pipe.addEventListener('message', ({ data }) => {
      heard.push(text(data))
      if (heard.length === 1) pipe.pause()
    })
    for (const word of ['a', 'b', 'c']) pipe.onData(bytes(word))
    deepEqual(heard, ['a'])
    pipe.resume()
    deepEqual(heard, ['a', 'bc'])
  })

  it('says that it has ended after the last message, once the other end has closed', async () => {
    const pipe = new Pipe()
    const ended = once(pipe, 'end')
    pipe.addEventListener('message', () => pipe.onRemoteCloseWrite())
    pipe.onData(bytes('last'))
    await ended
    equal(pipe.readStatus, 'closed')
  })

  it('is aborted by what its lower end throws', () => {
    const pipe = new Pipe()
    pipe.onSend = () => {
      throw new Error('no way down')
    }
    let message = ''
    try {
      pipe.send(bytes('x'))
    } catch (error) {
      ;({ message } = error as Error)
    }
    deepEqual([message, pipe.status, pipe.queued()], ['no way down', 'aborted', [0, 0]])
  })
})
