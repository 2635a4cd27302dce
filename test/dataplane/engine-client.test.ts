import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, beforeEach, afterEach } from 'mocha'
import { systemClock } from '../../src/clock.ts'
import { EngineClient, EngineGoneError } from '../../src/dataplane/engine-client.ts'
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
    const applied = await client.apply({ generation: 7, privateKey: 'k', privateKeyBefore: null, state: '{}' })
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

  it('tells who waits when the engine refuses, goes away or speaks another protocol', async () => {
    await listen(line(hello), (text) =>
      text.includes('stats') ? null : line({ type: 'error', code: 'bad_state', message: 'no' })
    )
    const client = await EngineClient.connect(path, systemClock)
    await assert.rejects(
      client.apply({ generation: 1, privateKey: 'k', privateKeyBefore: null, state: '{}' }),
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
