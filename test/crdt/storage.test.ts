import assert from 'node:assert/strict'
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readFile, readdir, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { acquireLock } from '../../src/crdt/lock.ts'
import { UnavailableError } from '../../src/errors.ts'
import { systemRandom } from '../../src/random.ts'
import { Bench, peerRecord, pull, serviceInput, signer, state } from './support.ts'

const writer = new URL('./support/writer.ts', import.meta.url)
const fullDisk = fileURLToPath(new URL('./support/full-disk.ts', import.meta.url))

describe('crdt/storage', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  // Each SIGKILL ends as many lives as the process has states, each at another instant of its own writing.
  const kills = 50
  const states = 4
  it(`no change that was acknowledged is lost in ${kills * states} lives that are killed while writing`, async function () {
    this.timeout(400_000)
    const dirs = await Promise.all(Array.from({ length: states }, () => bench.dir()))
    const acknowledged = dirs.map(() => new Set<string>())
    for (let kill = 0; kill < kills; kill++) {
      const child = fork(writer, dirs, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      const enough = Math.floor(Math.random() * 30)
      let said = 0
      const worked = new Promise<void>((resolve) => {
        child.on('message', (message: string) => {
          const [state, name] = message.split(' ')
          if (name != null) acknowledged[Number(state)]?.add(name)
          if (said++ === enough) resolve()
        })
      })
      await Promise.race([worked, once(child, 'exit')])
      assert.ok(said > enough, 'the state could not be opened after a kill, or not be written')
      // Not always just after an acknowledgement.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    for (const [i, dir] of dirs.entries()) {
      const replica = await bench.open(dir, signer(1))
      assert.equal(replica.damage(), null)
      const held = new Set([...replica.view().services.values()].map(({ name }) => name))
      assert.deepEqual(
        [...(acknowledged[i] ?? [])].filter((name) => !held.has(name)),
        []
      )
      assert.ok((acknowledged[i]?.size ?? 0) > kills, `${acknowledged[i]?.size} acknowledged changes`)
      const incarnations = new Set(Object.keys(replica.vector()).map((actor) => actor.slice(64, 72)))
      assert.ok(incarnations.size > kills / 2)
    }
  })

  it('one agent at a time; a dead one is replaced, by one of many that try', async () => {
    const dir = await bench.dir()
    const first = await bench.open(dir, signer(1))
    await assert.rejects(bench.open(dir, signer(1)), /another agent \(pid \d+\) uses this state directory/)
    await first.close()
    const child = fork(writer, [dir], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    await once(child, 'message')
    await assert.rejects(bench.open(dir, signer(1)), new RegExp(`pid ${child.pid}`))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const path = join(dir, 'cluster', 'lock')
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(path, systemRandom)))
    const winners = results.filter(({ status }) => status === 'fulfilled')
    assert.equal(winners.length, 1)
    for (const result of results) if (result.status === 'fulfilled') await result.value.release()
    assert.deepEqual((await readdir(join(dir, 'cluster'))).sort(), ['incarnation', 'log'])
  })

  it('a disk that is full refuses writes, keeps what is known, and goes on by itself', async function () {
    const dir = await bench.dir()
    const unshare = (script: string): ReturnType<typeof spawnSync> =>
      spawnSync('unshare', ['-rm', 'sh', '-c', script, process.execPath, dir, fullDisk], { encoding: 'utf8' })
    const mount = 'mount -t tmpfs -o size=512k tmpfs "$1"'
    const probe = unshare(mount)
    if (probe.status !== 0 && process.env['CI'] == null) {
      console.log(`      cannot mount a small tmpfs in a mount namespace: ${String(probe.stderr)}`)
      this.skip()
    }
    const told = unshare(`${mount} && exec "$0" "$2" "$1"`)
    assert.equal(told.status, 0, String(told.stderr))
  })

  it('a damaged log is kept, named, and what was lost comes back from another peer', async () => {
    const dir = await bench.dir()
    const a = await bench.open(dir, signer(1))
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    for (let i = 0; i < 10; i++) await a.createService(serviceInput(a, b, { name: `s${i}` }))
    await pull(b, a)
    await a.close()
    const path = join(dir, 'cluster', 'log')
    const bytes = await readFile(path)
    for (const share of [0.5, 0.7, 0.9]) {
      const broken = Buffer.from(bytes)
      const at = Math.floor(bytes.length * share)
      broken[at] = (broken[at] as number) ^ 0x20
      await writeFile(path, broken)
      const hurt = await bench.open(dir, signer(1))
      assert.match(hurt.damage()?.message ?? '', /is damaged/)
      assert.deepEqual(await readFile(hurt.damage()?.keptAs ?? ''), broken)
      assert.ok(hurt.view().services.size < 10)
      await pull(hurt, b)
      assert.deepEqual(state(hurt), state(b))
      await hurt.createService(serviceInput(hurt, b)).then(({ id }) => hurt.deleteService(id))
      await pull(b, hurt)
      assert.deepEqual(state(b), state(hurt))
      await hurt.close()
      const healed = await bench.open(dir, signer(1))
      assert.equal(healed.damage(), null)
      await healed.close()
      await writeFile(path, bytes)
    }
  })

  it('a directory that cannot be used is named, with what to do', async () => {
    const dir = await bench.dir()
    await writeFile(join(dir, 'file'), '')
    await assert.rejects(bench.open(join(dir, 'file'), signer(1)), /cannot be used: a part of the path is a file/)
    await symlink('/proc/self/mounts', join(dir, 'cluster'))
    await assert.rejects(bench.open(dir, signer(1)), UnavailableError)
    await unlink(join(dir, 'cluster'))
    const a = await bench.open(dir, signer(1))
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    await a.close()
    await assert.rejects(a.createService(serviceInput(a, a)), /the agent is stopping/)
    await chmod(join(dir, 'cluster'), 0o700)
    await writeFile(join(dir, 'cluster', 'incarnation'), 'many\n')
    await assert.rejects(bench.open(dir, signer(1)), /incarnation is damaged/)
    await writeFile(join(dir, 'cluster', 'log'), 'ARCTLOG\n\0\0\0\x07\0\0\0\0')
    await assert.rejects(bench.open(dir, signer(1)), /written in format 7, this agent knows format 1/)
  })
})
