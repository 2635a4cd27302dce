import { deepEqual, equal, rejects } from 'node:assert/strict'
import { Pings } from '../../src/mesh/libp2p/pings.ts'
import { pingIdleMs, pingTimeoutMs } from '../../src/mesh/limits.ts'
import type { Channel } from '../../src/mesh/network.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

/** Two ends of a stream, in memory; what was done to the first one. */
function stream(): { near: Channel; far: Channel; log: string[] } {
  const log: string[] = []
  const end = (): { queue: Array<Uint8Array | null>; waiting: Array<(message: Uint8Array | null) => void> } => ({
    queue: [],
    waiting: []
  })
  const [toNear, toFar] = [end(), end()]
  const put = (to: ReturnType<typeof end>, message: Uint8Array | null): void => {
    const take = to.waiting.shift()
    if (take == null) to.queue.push(message)
    else take(message)
  }
  const channel = (from: ReturnType<typeof end>, to: ReturnType<typeof end>, name: string): Channel => ({
    send: async (message) => put(to, message),
    receive: ({ signal }) =>
      new Promise((resolve, reject) => {
        const next = from.queue.shift()
        if (next !== undefined) resolve(next)
        else from.waiting.push(resolve)
        if (signal.aborted) reject(signal.reason as Error)
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      }),
    close: async () => {
      log.push(`${name} closes`)
      put(to, null)
    },
    abort: () => void log.push(`${name} aborts`)
  })
  return { near: channel(toNear, toFar, 'near'), far: channel(toFar, toNear, 'far'), log }
}

const forever = new AbortController().signal

describe('pings', () => {
  it('go over one stream of a connection, one after the other, and over another one at the same time', async () => {
    const pings = new Pings(new FakeClock())
    const opened: Array<ReturnType<typeof stream>> = []
    const open = async (): Promise<Channel> => {
      const one = stream()
      opened.push(one)
      void pings.echo(one.far)
      return one.near
    }
    const connection = {}
    for (let i = 0; i < 3; i++) await pings.ping(connection, open, { signal: forever })
    equal(opened.length, 1)
    await Promise.all([1, 2].map(() => pings.ping(connection, open, { signal: forever })))
    equal(opened.length, 2)
    equal(opened.flatMap(({ log }) => log).join(), 'near closes')
    await pings.ping({}, open, { signal: forever })
    equal(opened.length, 3)
  })

  it('open another stream when the other side closes it after one, as older versions do', async () => {
    const pings = new Pings(new FakeClock())
    let opened = 0
    const open = async (): Promise<Channel> => {
      opened++
      const { near, far } = stream()
      void far.receive({ signal: forever }).then(async (message) => {
        await far.send(message as Uint8Array)
        await far.close()
      })
      return near
    }
    const connection = {}
    for (let i = 0; i < 3; i++) await pings.ping(connection, open, { signal: forever })
    equal(opened, 3)
  })

  it('that are not answered in time take their stream with them', async () => {
    const pings = new Pings(new FakeClock())
    const { near, log } = stream()
    const patience = new AbortController()
    const ping = pings.ping({}, async () => near, { signal: patience.signal })
    patience.abort(new Error('too late'))
    await rejects(ping, /too late/)
    deepEqual(log, ['near aborts'])
  })

  it('are served until nothing has come for long, and a stream on which nothing comes at all for less', async () => {
    const clock = new FakeClock()
    const pings = new Pings(clock)
    const [used, idle] = [stream(), stream()]
    const ended: string[] = []
    void pings.echo(used.far).then(() => ended.push('used'))
    void pings.echo(idle.far).then(() => ended.push('idle'))
    await used.near.send(new Uint8Array(9))
    deepEqual(await used.near.receive({ signal: forever }), new Uint8Array(1))
    await clock.advance(pingTimeoutMs + 1)
    deepEqual(ended, ['idle'])
    await clock.advance(pingIdleMs)
    deepEqual(ended, ['idle', 'used'])
  })
})
