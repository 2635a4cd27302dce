import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { Client } from '../../src/api/cli/client.ts'
import { completeActor, type LiveActors } from '../../src/api/cli/repl/complete.ts'
import { Watch } from '../../src/api/cli/repl/handle.ts'
import { runRepl } from '../../src/api/cli/repl/session.ts'
import type { Taken } from '../../src/actors/runtime/takes.ts'
import { systemClock } from '../../src/clock.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

describe('cli: repl', function () {
  this.timeout(20_000)
  let host: ApiHost
  const children: ChildProcess[] = []
  before(async () => {
    host = await ApiHost.start()
    await host.ask('POST', '/v1/services', { target_peer_id: EDGE_B, name: 'web' })
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(() => host.stop())

  const repl = (lines: string[], args: string[] = []) => host.cli(['repl', ...args], { input: `${lines.join('\n')}\n` })

  it('answers through a pipe, each line after the one before, and awaits by itself', async () => {
    const { exit, out, err } = await repl([
      "actor('service:web').state",
      "const s = await actor('service:web').inspect()",
      's.status',
      'await 1 + 1',
      'const f = (n) => {',
      '  return n * 21',
      '}',
      'f(2)',
      "actor('service:web')"
    ])
    assert.deepEqual([exit, err], [0, ''])
    assert.deepEqual(out.trimEnd().split('\n').slice(0, 4), ["'pending'", "'active'", '2', '42'])
    assert.match(out, /actor\('service:web'\) {2}\.state .*\.send\(\)/)
  })

  it('draws the tree', async () => {
    const { out } = await repl(['tree()', '(await tree()).path'])
    assert.match(out, /^agent +running/m)
    assert.match(out, /'agent'/)
  })

  it('only reads, unless it was started to write', async () => {
    const refused = await repl(["actor('service:web').send('service.programmed')", "actor('service:web').state"])
    assert.match(refused.out, /error: forbidden: .*--write/)
    assert.match(refused.out, /'pending'/)
    const sent = await repl(
      [
        "const w = actor('service:web')",
        'const watch = w.watch()',
        'await new Promise((resolve) => setTimeout(resolve, 100))',
        "(await w.send('service.programmed')).to",
        "w.send({ type: 'bogus' })",
        'await new Promise((resolve) => setTimeout(resolve, 100))',
        'watch.stop()',
        '(await w.history()).at(-1).by'
      ],
      ['--write']
    )
    assert.match(sent.out, /'active'/)
    assert.match(sent.out, /service:\w+ pending → active {2}service\.programmed by socket/)
    assert.match(sent.out, /error: invalid_request: .*takes no event "bogus"/)
    assert.match(sent.out, /'socket'\n$/)
  })

  it('says what is wrong in one line and goes on', async () => {
    const { exit, out } = await repl(["actor('ghost').state", 'nonsense(', ')', '1 + 1'])
    assert.equal(exit, 0)
    assert.match(out, /error: not_found: no actor "ghost"/)
    assert.match(out, /^2$/m)
  })

  it('a failure is one line too where it is awaited by hand, or by nobody', async () => {
    const { out } = await repl([
      "await actor('ghost').state",
      "void [actor('phantom').state]",
      'await new Promise((resolve) => setTimeout(resolve, 300))',
      "const found = await actor('ghost').state.catch((error) => error)",
      'found.code'
    ])
    assert.match(out, /^Uncaught error: not_found: no actor "ghost" lives here; see "arctic actors tree"$/m)
    assert.match(out, /^Uncaught error: not_found: no actor "phantom" lives here/m)
    assert.doesNotMatch(out, /\n {4}at /)
    assert.match(out, /'not_found'\n$/)
  })

  it('knows no actor by the name of the watch, which would never answer', async () => {
    const { out } = await repl(["actor('watch').state", '1 + 1'])
    assert.match(out, /^error: not_found: no actor "watch" lives here/)
    assert.match(out, /^2$/m)
  })

  it('says why a watch has ended that its own listener broke', async () => {
    const { out } = await repl([
      "const watch = actor('service:web').watch(() => { throw new Error('out of paper') })",
      'await new Promise((resolve) => setTimeout(resolve, 300))'
    ])
    assert.match(out, /^the watch of service:web has ended: out of paper$/m)
  })

  it('says that a watch has ended which the agent ended, as that of a peer that is revoked', async () => {
    const told: string[] = []
    const api = {
      async *stream() {
        yield { type: 'open', data: null }
      }
    } as unknown as Client
    const { signal } = new AbortController()
    const print = (text: string): void => void told.push(text)
    const watch = new Watch('netmgr', { api, peer: 'edge-b', write: false, colours: false, print, signal }, () => {})
    await until(() => told.length > 0)
    assert.deepEqual([watch.path, told], ['netmgr', ['the watch of netmgr has ended\n']])
  })

  it('says when the input ends within an expression', async () => {
    assert.match((await repl(['[1,', '2'])).out, /^Uncaught SyntaxError: the input ended within an expression$/m)
    assert.equal((await repl(['[1,', '2].length'])).out, '2\n')
  })

  it('does not begin where nobody is to be asked', async () => {
    const nobody = await repl(['1 + 1'], ['--peer', 'nobody'])
    assert.deepEqual([nobody.exit, nobody.out], [4, ''])
    assert.match(nobody.err, /^error: peer_not_found: /)
    const none = await host.cli(['repl', '--socket', join(host.directory, 'none.sock')], { input: '1 + 1\n' })
    assert.deepEqual([none.exit, none.out], [3, ''])
  })

  it('completes live actors, events, fields and members, and leaves the rest to node', async () => {
    const taken: Taken[] = [
      { type: 'service.awaited', fields: {}, now: false },
      { type: 'service.impaired', fields: { reason: 'string', message: 'string' }, now: true }
    ]
    const live: LiveActors = {
      paths: async () => ['agent', 'netmgr', 'service:01J', 'service:web'],
      takes: async (path) => (path === 'service:web' ? taken : null),
      variable: (name) => (name === 'w' ? 'service:web' : null)
    }
    const completed = async (line: string): Promise<string[] | undefined> => (await completeActor(line, live))?.[0]
    assert.deepEqual(await completed("actor('ser"), ['service:01J', 'service:web'])
    assert.deepEqual(await completed('x = await actor("net'), ['netmgr'])
    assert.deepEqual(await completed("actor('service:web').send('"), ['service.impaired', 'service.awaited'])
    assert.deepEqual(await completed("w.send({ type: 'service.i"), ['service.impaired'])
    assert.deepEqual(await completed("w.send({ type: 'service.impaired', "), ['reason: ', 'message: '])
    assert.deepEqual(await completed("w.send({ type: 'service.impaired', reason: 'x', m"), ['message: '])
    assert.deepEqual(await completed('w.hi'), ['history('])
    assert.deepEqual(await completed("actor('netmgr').st"), ['state', 'status'])
    for (const line of ['other.hi', 'Math.ma', '', "actor('ghost').send('"])
      assert.equal(await completed(line), undefined)
  })

  it('at a terminal it prompts, completes on tab and keeps a history', async () => {
    const [stdin, stdout] = [new PassThrough(), new PassThrough()]
    let shown = ''
    stdout.setEncoding('utf8').on('data', (text: string) => (shown += text))
    const historyFile = join(host.directory, 'history')
    const { signal } = new AbortController()
    const api = new Client({ kind: 'socket', path: host.socket }, { clock: systemClock, signal })
    const session = runRepl({
      api,
      stdin,
      stdout,
      terminal: true,
      colours: false,
      peer: undefined,
      write: false,
      historyFile,
      signal
    })
    await until(() => shown.includes('arctic> '))
    stdin.write(`actor('peer:${EDGE_B.slice(0, 12)}\t`)
    await until(() => shown.includes(EDGE_B))
    stdin.write("').state\n")
    await until(() => shown.includes('membership.discovered'))
    stdin.write('.exit\n')
    await session
    await until(() => existsSync(historyFile))
  })

  it('completes addresses at other peers', async () => {
    const begun: string[] = []
    const live: LiveActors = {
      async paths(text) {
        begun.push(text)
        return ['actor://edge-a/', 'actor://edge-b/']
      },
      takes: async () => null,
      variable: () => null
    }
    assert.deepEqual((await completeActor("actor('actor://edge-b", live))?.[0], ['actor://edge-b/'])
    assert.deepEqual(begun, ['actor://edge-b'])
  })

  it('as a process ends when nobody reads what it prints, however much is typed', async () => {
    const command = `while echo 1; do :; done | ${process.execPath} ${main} repl | head -n 2; echo "\${PIPESTATUS[1]}"`
    const child = spawn('bash', ['-c', command], {
      env: { PATH: process.env['PATH'], ARCTIC_SOCKET: host.socket },
      stdio: ['ignore', 'pipe', 'ignore'],
      // A group of its own, so that all of the pipe can be ended.
      detached: true
    })
    children.push(child)
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    const limit = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), 15_000)
    await once(child, 'close')
    clearTimeout(limit)
    assert.equal(out, '1\n1\n0\n')
  })

  it('as a process ends with its input', async () => {
    const child = spawn(process.execPath, [main, 'repl'], {
      env: { PATH: process.env['PATH'], ARCTIC_SOCKET: host.socket },
      stdio: ['pipe', 'pipe', 'inherit']
    })
    children.push(child)
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stdin.end("actor('agent').state\n")
    const [code] = await once(child, 'exit')
    assert.deepEqual([code, out], [0, "'running'\n"])
  })
})

async function until(check: () => boolean): Promise<void> {
  const end = performance.now() + 5_000
  while (!check()) {
    assert.ok(performance.now() < end, 'not within 5 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
