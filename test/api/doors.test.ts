import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { startHttp } from '../../src/api/http/server.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { ApiHost } from './api-host.ts'
import { MemoryOperator } from './memory-operator.ts'

describe('api: the doors', () => {
  let host: ApiHost
  let directory: string
  beforeEach(async () => {
    host = await ApiHost.start({ apiListen: '127.0.0.1:0' })
    directory = mkdtempSync(join(tmpdir(), 'arctic-doors-'))
  })
  afterEach(async () => {
    await host.stop()
    rmSync(directory, { recursive: true, force: true })
    assert.deepEqual(host.errors, [])
  })

  const start = (socketPath: string, apiListen: string | null = null) =>
    startHttp({
      operator: new MemoryOperator(),
      socketPath,
      apiListen,
      stateDir: directory,
      log: silentLogger,
      version: '0.1.0'
    })
  const refused = (socketPath: string, apiListen: string | null, code: string, message: RegExp) =>
    assert.rejects(start(socketPath, apiListen), (error: Error & { code: string }) => {
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      return true
    })

  describe('the socket', () => {
    it('can be opened by its owner only, and is gone after stop', async () => {
      assert.equal(statSync(host.socket).mode & 0o777, 0o600)
      await host.http.stop()
      assert.equal(existsSync(host.socket), false)
    })

    it('of a killed agent is replaced', async () => {
      const path = join(directory, 'agent.sock')
      const dead = spawn(process.execPath, [
        '-e',
        `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
      ])
      await once(dead.stdout, 'data')
      dead.kill('SIGKILL')
      await once(dead, 'exit')
      assert.ok(existsSync(path), 'it left its socket')
      const http = await start(path)
      await http.stop()
    })

    it('of a living agent is left alone, with a clear error', async () => {
      await refused(host.socket, null, 'unavailable', /another agent listens on socket .*agent\.sock; stop it first/)
      assert.equal((await host.ask('GET', '/healthz')).status, 200)
    })

    it('of a stalled agent is left alone too', async () => {
      const path = join(directory, 'agent.sock')
      const stalled = spawn(process.execPath, [
        '-e',
        `require('net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => { require('fs').writeSync(1, 'up'); while (true); })`
      ])
      try {
        await once(stalled.stdout, 'data')
        await refused(path, null, 'unavailable', /another agent listens/)
      } finally {
        stalled.kill('SIGKILL')
        await once(stalled, 'exit')
      }
    })

    it('may not be a path too long for unix, or one where something else lies', async () => {
      await refused(join(directory, 'x'.repeat(108)), null, 'invalid_request', /unix allows 107/)
      const file = join(directory, 'file')
      writeFileSync(file, 'precious')
      await refused(file, null, 'invalid_request', /is not a socket/)
      assert.ok(existsSync(file))
      await refused(join(file, 'agent.sock'), null, 'unavailable', /directory of the socket/)
    })

    it('makes its directory', async () => {
      const http = await start(join(directory, 'run', 'arctic', 'agent.sock'))
      await http.stop()
    })
  })

  describe('the TCP address', () => {
    it('answers probes and the scraper, and 401 to everything else', async () => {
      for (const path of ['/healthz', '/readyz', '/metrics']) {
        assert.equal((await host.ask('GET', path, undefined, { tcp: true })).status, 200, path)
      }
      for (const [method, path] of [
        ['GET', '/v1/services'],
        ['POST', '/v1/cluster/init'],
        ['GET', '/v1/openapi.json'],
        ['GET', '/v1/events'],
        ['GET', '/nothing'],
        ['PATCH', '/v1/services'],
        ['POST', '/healthz']
      ] as const) {
        const answer = await host.ask(method, path, method === 'POST' ? {} : undefined, { tcp: true })
        assert.deepEqual([answer.status, answer.json.error.code], [401, 'unauthorized'], path)
        assert.equal(answer.headers['www-authenticate'], 'Bearer')
        assert.match(answer.json.error.message, /socket/)
      }
    })

    it('is not taken in by a rebound name', async () => {
      for (const name of ['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', '[2001:db8::1]:80']) {
        const answer = await host.ask('GET', '/metrics', undefined, { tcp: true, headers: { host: name } })
        assert.deepEqual([answer.status, answer.json?.error.code], [403, 'forbidden'], `"${name}": ${answer.text}`)
      }
      for (const name of ['localhost', 'LOCALHOST:1', '127.0.0.1:8080', '127.1.2.3', '[::1]:8080']) {
        const answer = await host.ask('GET', '/healthz', undefined, { tcp: true, headers: { host: name } })
        assert.equal(answer.status, 200, name)
      }
    })

    it('tells the CLI to show a token or use the socket, with exit 6', async () => {
      const ran = await host.cli(['--api', `http://${host.http.tcpAddress}`, 'services', 'list'], {
        env: { ARCTIC_SOCKET: '' }
      })
      assert.equal(ran.exit, 6)
      assert.match(ran.err, /^error: unauthorized: .*--token or ARCTIC_TOKEN.*socket/)
    })

    it('is free and well formed; else nothing is left open', async () => {
      const path = join(directory, 'agent.sock')
      await refused(path, '192.0.2.1:80', 'unavailable', /not an address of this host/)
      await refused(path, '127.0.0.1', 'invalid_request', /HOST:PORT/)
      await refused(path, '127.0.0.1:70000', 'invalid_request', /HOST:PORT/)
      const other = createServer().listen(0, '127.0.0.1')
      await once(other, 'listening')
      const { port } = other.address() as { port: number }
      await refused(path, `127.0.0.1:${port}`, 'unavailable', /taken by another program; .*--api-listen/)
      other.close()
      assert.equal(existsSync(path), false)
    })
  })

  it('stop within a second while clients are idle, streaming and half way through a request', async () => {
    const idle = connect(host.socket)
    idle.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(idle, 'data')
    const streaming = connect(host.socket)
    streaming.write('GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(streaming, 'data')
    const ended = Promise.all([once(idle.resume(), 'close'), once(streaming.resume(), 'close')])
    const begun = systemClock.monotonic()
    await host.http.stop()
    await ended
    assert.ok(systemClock.monotonic() - begun < 1000)
    assert.equal(host.operator.listeners, 0)
    await host.http.stop()
  })

  it('answer what is not HTTP, and headers without end, in JSON', async () => {
    for (const [bytes, status] of [
      ['garbage\r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, 431]
    ] as const) {
      const socket = connect(host.socket)
      socket.write(bytes)
      const answer = await text(socket)
      assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer)
      assert.equal(JSON.parse(answer.split('\r\n\r\n')[1]!).error.code, 'invalid_request')
    }
  })

  it('tell a waiting join that its asker has gone', async () => {
    host.operator.cluster = null
    const client = connect(host.socket)
    const body = JSON.stringify({ token: 'wait' })
    client.write(
      `POST /v1/cluster/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    )
    while (host.operator.joining == null) await systemClock.sleep(5)
    assert.equal(host.operator.joining.aborted, false)
    client.destroy()
    await once(host.operator.joining, 'abort')
    await systemClock.sleep(20)
  })
})
