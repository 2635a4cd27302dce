import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { askApi } from '../../lab/api.ts'
import { sleep, until } from '../../lab/wait.ts'
import { CodeCache } from '../../src/code-cache.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the bundle', () => {
  let tree: string

  before(function () {
    this.timeout(120_000)
    tree = mkdtempSync(join(tmpdir(), 'arctic-bundle-'))
    for (const name of ['src', 'sim', 'node_modules', 'package.json', 'tsconfig.json'])
      symlinkSync(join(root, name), join(tree, name))
    // The folder that holds it is where it puts what it makes, and a program's own links are followed.
    mkdirSync(join(tree, 'tools'))
    cpSync(join(root, 'tools/bundle.ts'), join(tree, 'tools/bundle.ts'))
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(tree, 'tools/bundle.ts')])
  })
  after(() => rmSync(tree, { recursive: true, force: true }))

  // Node has what it loads itself beside its own file, so a chunk that has taken a library in does not find the rest of it.
  it('simulates: what the simulator takes from Automerge is found from a chunk as well', function () {
    this.timeout(60_000)
    const out = run('sim', 'run', 'calm', '--peers', '2', '--seed', '1', '-j')
    assert.equal((JSON.parse(out) as { violations: unknown[] }).violations.length, 0)
  })

  it('simulates the same from scripts, of which is kept what was compiled, once a run is over', function () {
    this.timeout(60_000)
    const simulate = (...argv: string[]): string =>
      execFileSync(process.execPath, [join(tree, 'dist/sim-start.cjs'), 'sim', ...argv], {
        encoding: 'utf8',
        env: { ...process.env, NODE_COMPILE_CACHE: join(tree, 'sim-cache') }
      })
    const kept = (): string | undefined => globSync(join(tree, 'sim-cache/*/sim.code'))[0]
    const traceOf = (out: string): string => (JSON.parse(out) as { trace_hash: string }).trace_hash
    const argv = ['sim', 'run', 'calm', '--peers', '2', '--seed', '1', '--network', 'libp2p', '-j'] as const
    const trace = traceOf(run(...argv))
    assert.equal(traceOf(simulate(...argv.slice(1))), trace)
    const path = kept() as string
    const { ino } = statSync(path)
    assert.equal(CodeCache.read(path).isWhole, true)
    const main = readFileSync(join(tree, 'dist/sim-main.cjs'))
    assert.notEqual(CodeCache.read(path).of('sim-main.cjs', crc32(main)), undefined)
    simulate('list')
    assert.equal(traceOf(simulate(...argv.slice(1))), trace)
    assert.equal(statSync(path).ino, ino)
  })

  it('helps and says its version', () => {
    assert.match(run('--help'), /arctic/)
    assert.match(run('--version'), /\d+\.\d+\.\d+/)
  })

  it('starts an agent, which keeps what was compiled of it once, and again where that is damaged', async function () {
    this.timeout(120_000)
    const kept = (): string | undefined => globSync(join(tree, 'cache/*/agent.code'))[0]
    await agent(() => until('it to be kept', () => kept() != null, { timeoutMs: 30_000 }))
    const path = kept() as string
    const [good, { ino }] = [readFileSync(path), statSync(path)]
    // It keeps something after four seconds, if at all.
    await agent(() => sleep(6_000))
    assert.equal(statSync(path).ino, ino)
    const bad = Buffer.from(good)
    bad[bad.length >> 1]! ^= 1
    writeFileSync(path, bad)
    const isGood = (): boolean => readFileSync(path).includes('agent-main.cjs') && !readFileSync(path).equals(bad)
    await agent(() => until('it to be kept anew', isGood, { timeoutMs: 30_000 }))
    const main = readFileSync(join(tree, 'dist/agent-main.cjs'))
    assert.notEqual(CodeCache.read(path).of('agent-main.cjs', crc32(main)), undefined)
  })

  /** From its start until it has stopped in order, with what is done while it is there. */
  async function agent(meanwhile: () => Promise<unknown>): Promise<void> {
    const socket = join(tree, 'agent.sock')
    const program = [join(tree, 'dist/agent-start.cjs'), 'agent', '--dataplane', 'none', '--api-listen', 'off']
    const flags = ['--state-dir', join(tree, 'state'), '--socket', socket, '--log-level', 'warn']
    const ports = ['--mesh-listen', '/ip4/127.0.0.1/tcp/0', '--data-listen', '127.0.0.1:17949']
    const env = { ...process.env, NODE_COMPILE_CACHE: join(tree, 'cache') }
    const child = spawn(process.execPath, [...program, ...flags, ...ports], {
      env,
      stdio: ['ignore', 'ignore', 'inherit']
    })
    try {
      await until('it to answer', async () => (await askApi(socket, 'GET', '/healthz')).status === 200, {
        timeoutMs: 30_000
      })
      await meanwhile()
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      assert.deepEqual(await ended, [0, null])
    } finally {
      child.kill('SIGKILL')
    }
  }

  const run = (...argv: string[]): string =>
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(tree, 'dist/main.js'), ...argv], {
      encoding: 'utf8'
    })
})
