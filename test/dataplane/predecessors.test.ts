import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, beforeEach, afterEach } from 'mocha'
import { until } from '../../lab/wait.ts'
import { systemClock } from '../../src/clock.ts'
import type { EngineEvent } from '../../src/dataplane/engine-protocol.ts'
import { orphanLookMs } from '../../src/dataplane/limits.ts'
import { engineState } from '../../src/dataplane/engine-state.ts'
import { Predecessors } from '../../src/dataplane/predecessors.ts'
import { FakeLog } from '../actors/fakes/log.ts'

const message = { generation: 3, privateKey: 'k', privateKeyBefore: null, state: engineState({ peers: [] }) }

describe('engines before the one at work', () => {
  let dir: string
  let servers: Server[]
  let sockets: Map<number, Socket[]>
  let finished: number[]
  let aside: number[]
  let events: EngineEvent[]
  let predecessors: Predecessors
  let isSucceeded: boolean

  /** An engine whose successor is at work, or gone; it answers each line so. */
  const engine = (
    pid: number,
    hasSuccessor: boolean | (() => boolean),
    answer: (generation: number) => object
  ): Promise<void> => {
    const own: Socket[] = []
    sockets.set(pid, own)
    const server = createServer((socket) => {
      own.push(socket)
      const say = (said: object): void => void socket.write(`${JSON.stringify(said)}\n`)
      say({
        type: 'hello',
        engine: 'pegasus',
        version: '0',
        protocol: 1,
        pid,
        generation: 1,
        workers: 2,
        has_successor: typeof hasSuccessor === 'boolean' ? hasSuccessor : hasSuccessor()
      })
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        const told = JSON.parse(chunk.toString()) as { type: string; generation: number }
        if (told.type === 'apply') say(answer(told.generation))
        if (told.type === 'stand_aside') {
          aside.push(pid)
          say({ type: 'standing_aside' })
        }
      })
    })
    servers.push(server)
    return new Promise((resolve) => server.listen(Predecessors.path(dir, pid), resolve))
  }
  const takes = (generation: number): object => ({ type: 'applied', generation, listeners: [], errors: [] })
  const pids = (): number[] => predecessors.status.map(({ pid }) => pid).toSorted((a, b) => a - b)

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'dpp-'))
    ;[servers, sockets, finished, aside, events, isSucceeded] = [[], new Map(), [], [], [], true]
    predecessors = new Predecessors({
      dir,
      log: new FakeLog(),
      clock: systemClock,
      onEvent: (event) => events.push(event),
      finish: async (client) => {
        finished.push(client.hello.pid)
        client.close()
      },
      isSucceeded: () => isSucceeded
    })
  })
  afterEach(async () => {
    predecessors.leave()
    for (const own of sockets.values()) for (const socket of own) socket.destroy()
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    rmSync(dir, { recursive: true })
  })

  it('are found again, what a dead one has left is removed, and all are told each state', async () => {
    const told: number[] = []
    await engine(11, true, (generation) => (told.push(11), takes(generation)))
    await engine(12, true, (generation) => (told.push(12), takes(generation)))
    writeFileSync(join(dir, 'old.13'), '')
    writeFileSync(join(dir, 'config.json'), '{}')
    await predecessors.find()
    assert.deepEqual(pids(), [11, 12])
    assert.deepEqual([existsSync(join(dir, 'old.13')), existsSync(join(dir, 'config.json'))], [false, true])
    await predecessors.apply(message)
    assert.deepEqual([told.toSorted(), finished], [[11, 12], []])
  })

  it('one that does not take a state is ended', async () => {
    await engine(11, true, takes)
    await engine(12, true, () => ({ type: 'error', code: 'InvalidState', message: 'unknown field' }))
    await predecessors.find()
    await predecessors.apply(message)
    assert.deepEqual(finished, [12])
  })

  it('one that drops a connection is asked again, one that ends is forgotten with its socket', async () => {
    await engine(11, true, takes)
    await predecessors.find()
    sockets.get(11)?.forEach((socket) => socket.destroy())
    await until('another connection', () => (sockets.get(11)?.length ?? 0) > 1, { timeoutMs: 5000 })
    await until('the engine to be known', () => pids().includes(11), { timeoutMs: 5000 })
    await new Promise<void>((resolve) => {
      servers[0]?.close(() => resolve())
      sockets.get(11)?.forEach((socket) => socket.destroy())
    })
    await until('it to be forgotten', () => pids().length === 0, { timeoutMs: 5000 })
    await until('its socket to be gone', () => !existsSync(join(dir, 'old.11')), { timeoutMs: 5000 })
  })

  it('the one whose successor is gone is the one to succeed', async () => {
    await engine(11, true, takes)
    await predecessors.find()
    assert.equal(await predecessors.atWork(), null)
    await engine(12, false, takes)
    await predecessors.find()
    assert.deepEqual(await predecessors.atWork(), { path: join(dir, 'old.12'), workers: 2 })
  })

  for (const [what, succeeded, expected] of [
    ['stands aside', true, [11]],
    ['is left to the engine that is being started', false, []]
  ] as const) {
    it(`the one before an engine that died ${what}`, async () => {
      let middleLives = true
      isSucceeded = succeeded
      await engine(11, () => middleLives, takes)
      await engine(12, true, takes)
      await predecessors.find()
      middleLives = false
      await new Promise<void>((resolve) => {
        servers[1]?.close(() => resolve())
        sockets.get(12)?.forEach((socket) => socket.destroy())
      })
      await until('the dead one to be forgotten', () => !pids().includes(12), { timeoutMs: 5000 })
      await systemClock.sleep(orphanLookMs + 200)
      assert.deepEqual([aside, finished], [expected, []])
    })
  }
})
