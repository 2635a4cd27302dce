import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/clock.ts'
import { ApiHost } from './api-host.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** `arctic` as a process of its own. */
describe('cli: as a process', function () {
  this.timeout(20_000)
  let host: ApiHost
  let directory: string
  const children: ChildProcess[] = []
  before(async () => {
    host = await ApiHost.start()
    directory = mkdtempSync(join(tmpdir(), 'arctic-cli-'))
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(async () => {
    await host.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  const start = (args: string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [main, ...args], {
      env: { PATH: process.env['PATH'], ARCTIC_SOCKET: host.socket, ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    children.push(child)
    return { child, out: text(child.stdout), err: text(child.stderr), exit: once(child, 'exit') }
  }
  const run = async (args: string[], env: Record<string, string> = {}) => {
    const { out, err, exit } = start(args, env)
    const [code] = await exit
    return { exit: code as number, out: await out, err: await err }
  }

  it('speaks to an agent and exits 0', async () => {
    const ran = await run(['cluster', 'status', '-j'])
    assert.deepEqual([ran.exit, ran.err, JSON.parse(ran.out).name], [0, '', 'test'])
  })

  it('says why an agent is not reachable, and exits 3', async () => {
    const stale = join(directory, 'stale.sock')
    const dead = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(stale)}, () => console.log(1))`
    ])
    await once(dead.stdout, 'data')
    dead.kill('SIGKILL')
    await once(dead, 'exit')
    const file = join(directory, 'file')
    writeFileSync(file, '')
    for (const [socket, message] of [
      ['/nonexistent/agent.sock', /socket \/nonexistent\/agent\.sock does not exist; start one with "arctic agent"/],
      [stale, /stale\.sock exists but nobody listens on it; start one with "arctic agent"/],
      [file, /file exists but nobody listens on it/],
      [`/${'x'.repeat(150)}`, /is not usable \(unix allows 107 bytes\)|does not exist/]
    ] as const) {
      const ran = await run(['status', '--socket', socket])
      assert.deepEqual([ran.exit, ran.out], [3, ''])
      assert.match(ran.err, /^error: unavailable: [^\n]+\n$/)
      assert.match(ran.err, message)
    }
  })

  it('says when the socket may not be opened', async function () {
    // Root may open every socket; the check needs another user to run as.
    if (process.getuid?.() !== 0) return this.skip()
    chmodSync(directory, 0o755)
    const path = join(directory, 'closed.sock')
    const server = createServer().listen(path)
    await once(server, 'listening')
    chmodSync(path, 0o600)
    try {
      const script = `
        const { runCli } = await import(${JSON.stringify(new URL('../../src/api/cli/index.ts', import.meta.url).href)})
        await import(${JSON.stringify(new URL('../../src/api/cli/client.ts', import.meta.url).href)})
        await import(${JSON.stringify(new URL('../../src/api/cli/printer.ts', import.meta.url).href)})
        process.setuid(65534)
        process.exitCode = await runCli(['status', '--socket', ${JSON.stringify(path)}], {}, process)`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'pipe']
      })
      children.push(child)
      const err = text(child.stderr)
      const [code] = await once(child, 'exit')
      assert.equal(code, 3)
      assert.match(await err, /^error: unavailable: no permission to open socket .*closed\.sock; run as root/)
    } finally {
      server.close()
    }
  })

  it('says when something else than an agent answers', async () => {
    const path = join(directory, 'other.sock')
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello')
    }).listen(path)
    await once(server, 'listening')
    try {
      const ran = await run(['status', '--socket', path])
      assert.deepEqual([ran.exit, ran.out], [3, ''])
      assert.match(ran.err, /did not answer with JSON; is it an arctic agent\?/)
    } finally {
      server.close()
    }
  })

  it('ends quietly when its reader does, as in "| head -1"', async () => {
    for (let n = 0; n < 400; n++) {
      await host.operator.createService({ source_peer_id: 'edge-a', target_peer_id: 'edge-b', name: `service-${n}` })
    }
    try {
      for (const args of [
        ['services', 'list'],
        ['services', 'list', '--watch', '-j']
      ]) {
        const { child, err, exit } = start(args)
        await once(child.stdout, 'data')
        child.stdout.destroy()
        if (args.includes('--watch')) {
          // The next print finds nobody; that is how a watching command learns of it.
          const ended = { yes: false }
          void exit.then(() => (ended.yes = true))
          for (let n = 0; n < 100 && !ended.yes; n++) {
            const [id] = host.operator.services.keys()
            await host.operator.deleteService(id!)
            await systemClock.sleep(30)
          }
        }
        assert.deepEqual([(await exit)[0], await err], [0, ''])
      }
    } finally {
      host.operator.services.clear()
    }
  })

  it('ends with 130 and no word on Ctrl-C, and the agent learns of it', async () => {
    host.operator.cluster = null
    host.operator.joining = null
    const { child, out, err, exit } = start(['cluster', 'join', 'wait'])
    while (host.operator.joining == null) await systemClock.sleep(5)
    const gone = once(host.operator.joining, 'abort')
    child.kill('SIGINT')
    assert.deepEqual([(await exit)[0], await out, await err], [130, '', ''])
    await gone
    host.operator.cluster = { id: 'x', name: 'test' }
  })

  it('ends with 0 on Ctrl-C while it watches', async () => {
    const { child, err, exit } = start(['peers', 'list', '--watch'])
    await once(child.stdout, 'data')
    child.kill('SIGINT')
    assert.deepEqual([(await exit)[0], await err], [0, ''])
  })

  it('shows its help without loading a library: that is what keeps its start near bare Node', () => {
    const spy = `import { registerHooks } from 'node:module'
      registerHooks({ load: (url, context, next) => (process.stderr.write(url + '\\n'), next(url, context)) })`
    const preload = `data:text/javascript,${encodeURIComponent(spy)}`
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', preload, main, '--help'], {
      encoding: 'utf8'
    })
    assert.equal(status, 0)
    assert.match(stdout, /^Usage|arctic/m)
    const loaded = stderr.split('\n').filter((url) => url.startsWith('file:'))
    assert.ok(loaded.length > 3, stderr)
    assert.deepEqual(
      loaded.filter((url) => url.includes('/node_modules/')),
      []
    )
  })
})
