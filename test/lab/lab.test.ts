import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { CommandFailedError } from '../../lab/command.ts'
import { labFor } from '../../lab/for-tests.ts'
import { Lab } from '../../lab/lab.ts'
import { directoryOf, pidsInside, removeRun, runs } from '../../lab/leftovers.ts'
import { CLIENT, EDGE_A, SERVER, twoSites, type TwoSites } from '../../lab/topology.ts'
import { ping } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'

const PREFIX = 'labtest'
const namespaces = (runId: string): string[] => readdirSync('/run/netns').filter((name) => name.startsWith(runId))

describe('lab: hosts on one machine', function () {
  this.timeout(30_000)
  let lab: Lab
  let sites: TwoSites

  before(async function () {
    lab = await labFor(this, PREFIX)
    sites = await twoSites(lab)
  })
  after(() => lab?.close())

  it('neighbours reach each other over IPv4 and IPv6 at once', async () => {
    assert.equal((await ping(sites.client, EDGE_A.lan4, { count: 1 })).received, 1)
    assert.equal((await ping(sites.client, EDGE_A.lan6, { count: 1 })).received, 1)
  })

  it('the client does not reach the server: the edges have no route to it', async () => {
    for (const address of [SERVER.v4, SERVER.v6]) {
      assert.equal((await ping(sites.client, address, { count: 1, waitS: 1 })).received, 0)
    }
    assert.doesNotMatch(await sites.edgeA.exec(['ip', 'route']), /10\.2\.0\./)
  })

  it('a command that fails says what it was and what it said', async () => {
    await assert.rejects(sites.client.exec(['sh', '-c', 'echo no luck >&2; exit 7']), (error) => {
      assert.ok(error instanceof CommandFailedError)
      assert.equal(error.result.code, 7)
      assert.match(error.message, /no luck/)
      return true
    })
  })

  it('hosts have settings of their own: congestion control, sysctls, addresses', async () => {
    const read = (name: string): Promise<string> => sites.client.exec(['cat', `/proc/sys/${name}`])
    assert.match(await read('net/ipv4/tcp_congestion_control'), /^(cubic|reno)$/m)
    await sites.client.sysctl({ 'net.ipv4.ip_default_ttl': 61 })
    assert.equal((await read('net/ipv4/ip_default_ttl')).trim(), '61')
    assert.ok((await sites.client.addresses()).includes(`${CLIENT.v6}/64`))
  })

  it('a spawned program has the pid of the program itself and ends when it is told to', async () => {
    const task = await sites.client.spawn(['sleep', '60'])
    await until('the program', () => sites.client.pids().includes(task.pid), { timeoutMs: 2000 })
    assert.deepEqual(await task.stop(), { code: null, signal: 'SIGTERM' })
    assert.deepEqual(sites.client.pids(), [])
  })

  it('closing ends every process, those of daemons too, and leaves no namespace and no file', async () => {
    const other = await Lab.create({ prefix: PREFIX })
    const host = await other.host('busy')
    await host.exec(['sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 </dev/null &'])
    await host.spawn(['sh', '-c', 'trap "" TERM; while :; do sleep 600; done'])
    await until('both programs', () => host.pids().length >= 3, { timeoutMs: 2000 })
    const pids = host.pids()
    other.close()
    assert.deepEqual(namespaces(other.runId), [])
    assert.equal(existsSync(other.directory), false)
    for (const pid of pids)
      assert.equal(existsSync(`/proc/${pid}/ns/net`) && pidsInside(host.namespace).length > 0, false)
    // The lab beside it, of the same prefix and the same process, is untouched.
    assert.equal(namespaces(lab.runId).length, 4)
  })
})

describe('lab: whatever happens to its process', function () {
  this.timeout(30_000)
  const script = `
    import { Lab } from ${JSON.stringify(new URL('../../lab/lab.ts', import.meta.url).href)}
    const lab = await Lab.create({ prefix: '${PREFIX}-victim' })
    const host = await lab.host('h')
    await host.spawn(['sleep', '600'])
    console.log(lab.runId)
    if (process.argv[1] === 'throw') throw new Error('on purpose')
    if (process.argv[1] === 'reject') void Promise.reject(new Error('on purpose'))
    if (process.argv[1] === 'keep') { lab.keep(); process.exit(0) }
    setInterval(() => {}, 1000)`

  before(async function () {
    const lab = await labFor(this, PREFIX)
    lab.close()
  })
  after(() => {
    for (const { runId } of runs(`${PREFIX}-victim`)) removeRun(runId)
  })

  async function victim(
    how: string
  ): Promise<{ runId: string; kill: (signal: NodeJS.Signals) => void; ended: Promise<number | null> }> {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, how], {
      stdio: ['ignore', 'pipe', 'ignore']
    })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    const runId = await new Promise<string>((resolve) => {
      child.stdout.once('data', (data: Buffer) => resolve(String(data).trim()))
      child.once('exit', () => resolve(''))
    })
    return { runId, kill: (signal) => child.kill(signal), ended }
  }

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129]
  ] as const) {
    it(`${signal} removes its hosts and exits with ${code}`, async () => {
      const { runId, kill, ended } = await victim('wait')
      kill(signal)
      assert.equal(await ended, code)
      assert.deepEqual(namespaces(runId), [])
      assert.equal(existsSync(directoryOf(runId)), false)
    })
  }

  for (const how of ['throw', 'reject']) {
    it(`an uncaught ${how === 'throw' ? 'exception' : 'rejection'} removes its hosts`, async () => {
      const { runId, ended } = await victim(how)
      assert.notEqual(await ended, 0)
      assert.deepEqual(namespaces(runId), [])
      assert.equal(existsSync(directoryOf(runId)), false)
    })
  }

  it('what SIGKILL left is removed by the next run of the same prefix, and only that', async () => {
    const alive = await victim('wait')
    const { runId, kill, ended } = await victim('wait')
    kill('SIGKILL')
    await ended
    assert.equal(namespaces(runId).length, 1)
    const [orphan] = pidsInside(`${runId}-h`)
    assert.ok(orphan != null)
    const next = await Lab.create({ prefix: `${PREFIX}-victim` })
    next.close()
    assert.deepEqual(namespaces(runId), [])
    assert.equal(existsSync(directoryOf(runId)), false)
    assert.equal(namespaces(alive.runId).length, 1)
    alive.kill('SIGTERM')
    await alive.ended
  })

  it('kept hosts stay, also past the next run, until they are removed', async () => {
    const { runId, ended } = await victim('keep')
    assert.equal(await ended, 0)
    const next = await Lab.create({ prefix: `${PREFIX}-victim` })
    next.close()
    assert.equal(namespaces(runId).length, 1)
    assert.equal(pidsInside(`${runId}-h`).length, 1)
    removeRun(runId)
    assert.deepEqual(namespaces(runId), [])
  })
})
