import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, beforeEach, afterEach } from 'mocha'
import { systemClock } from '../../src/clock.ts'
import { EngineClient, EngineGoneError } from '../../src/dataplane/engine-client.ts'
import { engineState, type EngineState } from '../../src/dataplane/engine-state.ts'
import type { EngineEvent } from '../../src/dataplane/engine-protocol.ts'

const hello = { type: 'hello', engine: 'pegasus', version: '1', protocol: 1, pid: 1, generation: null, listeners: [] }

describe('engine client', () => {
  let dir: string
  let path: string
  let server: Server
  let sockets: Socket[]

  /** An engine that says `first` and answers each line as told. */
  const listen = (first: string, answer: (line: string) => string | null = () => null): Promise<void> => {
    server = createServer((socket) => {
      sockets.push(socket)
      socket.write(first)
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        for (const line of chunk.toString().split('\n').filter(Boolean)) {
          const text = answer(line)
          if (text != null) socket.write(text)
        }
      })
    })
    return new Promise((resolve) => server.listen(path, resolve))
  }
  const line = (message: object): string => `${JSON.stringify(message)}\n`

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'dpt-'))
    path = join(dir, 'control.sock')
    sockets = []
  })
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    rmSync(dir, { recursive: true })
  })

  it('applies, asks for stats and hands on events that came before anybody listened', async () => {
    const event = line({ type: 'event', event: 'flow', reason: 'ü' })
    await listen(line(hello) + event, (text) => {
      const message = JSON.parse(text) as { type: string; generation: number; id: number }
      if (message.type === 'apply')
        return line({ type: 'applied', generation: message.generation, listeners: [], errors: [] })
      return line({ type: 'stats', id: message.id, refused_total: 3 })
    })
    const client = await EngineClient.connect(path, systemClock)
    const applied = await client.apply({
      generation: 7,
      privateKey: 'k',
      privateKeyBefore: null,
      state: engineState({})
    })
    assert.equal(applied.generation, 7)
    assert.deepEqual(await client.stats(), { type: 'stats', id: 1, refused_total: 3 })
    const events: EngineEvent[] = []
    client.onEvent((e) => events.push(e))
    assert.deepEqual(
      events.map(({ reason }) => reason),
      ['ü']
    )
    client.close()
  })

  it('reads lines however they are cut', async () => {
    await listen('')
    const connecting = EngineClient.connect(path, systemClock)
    while (sockets.length === 0) await systemClock.sleep(1)
    for (const byte of Buffer.from(line(hello))) sockets[0]!.write(Buffer.of(byte))
    const client = await connecting
    assert.equal(client.hello.pid, 1)
    client.close()
  })

  describe('changes of a state', () => {
    const told: Array<{ type: string; name?: string; base?: string; [field: string]: unknown }> = []
    const state = (level: number): EngineState =>
      engineState({ level }, (before, after) => (after.level > 9 ? null : { by: after.level - before.level }))
    const message = (generation: number, level: number) => ({
      generation,
      privateKey: 'k',
      privateKeyBefore: null,
      state: state(level)
    })
    const applied = (generation: unknown): string => line({ type: 'applied', generation, listeners: [], errors: [] })
    const listenNoting = (hello: object, answer: (message: (typeof told)[number]) => string): Promise<void> =>
      listen(line(hello), (text) => {
        const message = JSON.parse(text) as (typeof told)[number]
        told.push(message)
        return answer(message)
      })
    const words = (): unknown[] => told.map(({ type, state: whole, change }) => [type, whole ?? change])
    beforeEach(() => void told.splice(0))

    it('are told once the whole is in force, each by the name of the one before', async () => {
      await listenNoting({ ...hello, changes: 1 }, ({ generation }) => applied(generation))
      const client = await EngineClient.connect(path, systemClock)
      for (const [generation, level] of [
        [1, 3],
        [2, 5],
        [3, 10],
        [4, 9]
      ] as const)
        assert.equal((await client.apply(message(generation, level))).generation, generation)
      assert.deepEqual(words(), [
        ['apply', { level: 3 }],
        ['change', { by: 2 }],
        ['apply', { level: 10 }],
        ['change', { by: -1 }]
      ])
      const names = told.map(({ name }) => name)
      assert.equal(new Set(names).size, 4)
      assert.deepEqual(
        told.map(({ base }) => base),
        [undefined, names[0], undefined, names[2]]
      )
      client.close()
    })

    it('are not told to an engine that does not say it knows them, nor is a name', async () => {
      for (const changes of [undefined, 2]) {
        told.splice(0)
        await listenNoting({ ...hello, changes }, ({ generation }) => applied(generation))
        const client = await EngineClient.connect(path, systemClock)
        await client.apply(message(1, 3))
        await client.apply(message(2, 5))
        assert.deepEqual(words(), [
          ['apply', { level: 3 }],
          ['apply', { level: 5 }]
        ])
        assert.ok(told.every((one) => !('name' in one)))
        client.close()
        await new Promise((resolve) => server.close(resolve))
      }
      await listen('')
    })

    it('come to the whole state where the engine has another base or does not understand', async () => {
      const refusals = [
        { type: 'not_applied', generation: 2, code: 'OtherBase', message: 'another' },
        { type: 'error', code: 'InvalidState', message: 'unknown field' }
      ]
      await listenNoting({ ...hello, changes: 1 }, ({ type, generation }) => {
        const refusal = type === 'change' ? refusals.shift() : undefined
        return refusal == null ? applied(generation) : line(refusal)
      })
      const client = await EngineClient.connect(path, systemClock)
      for (let generation = 1; generation <= 4; generation++)
        assert.equal((await client.apply(message(generation, generation))).generation, generation)
      assert.deepEqual(words(), [
        ['apply', { level: 1 }],
        ['change', { by: 1 }],
        ['apply', { level: 2 }],
        ['change', { by: 1 }],
        ['apply', { level: 3 }],
        ['change', { by: 1 }]
      ])
      client.close()
    })

    it('are not told where nobody knows what the engine has: after a refusal, and on another connection', async () => {
      let refuses = false
      await listenNoting({ ...hello, changes: 1 }, ({ generation }) =>
        refuses ? line({ type: 'error', code: 'InvalidState', message: 'no' }) : applied(generation)
      )
      const first = await EngineClient.connect(path, systemClock)
      await first.apply(message(1, 1))
      refuses = true
      await assert.rejects(first.apply(message(2, 2)), /InvalidState/)
      refuses = false
      await first.apply(message(3, 3))
      first.close()
      const second = await EngineClient.connect(path, systemClock)
      await second.apply(message(4, 4))
      assert.deepEqual(words(), [
        ['apply', { level: 1 }],
        ['change', { by: 1 }],
        ['apply', { level: 2 }],
        ['apply', { level: 3 }],
        ['apply', { level: 4 }]
      ])
      second.close()
    })
  })

  it('tells who waits when the engine refuses, goes away or speaks another protocol', async () => {
    await listen(line(hello), (text) =>
      text.includes('stats') ? null : line({ type: 'error', code: 'bad_state', message: 'no' })
    )
    const client = await EngineClient.connect(path, systemClock)
    await assert.rejects(
      client.apply({ generation: 1, privateKey: 'k', privateKeyBefore: null, state: engineState({}) }),
      /bad_state no/
    )
    const stats = client.stats()
    sockets[0]!.destroy()
    await assert.rejects(stats, EngineGoneError)
    await new Promise<void>((resolve) => client.onClose(resolve))
    await assert.rejects(client.stats(), EngineGoneError)
    await new Promise((resolve) => server.close(resolve))

    await listen(line({ ...hello, protocol: 2 }))
    await assert.rejects(EngineClient.connect(path, systemClock), /protocol 2/)
    await new Promise((resolve) => server.close(resolve))

    await listen('garbage\n')
    await assert.rejects(EngineClient.connect(path, systemClock), /no JSON message/)
  })
})
