import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { StatusJson } from '../../src/actors/operator/operator.ts'
import type { Peer } from '../../lab/peer.ts'
import { snapshotDiff, snapshotHost, type Snapshot } from '../../lab/snapshot.ts'
import type { Task } from '../../lab/task.ts'
import { SERVER } from '../../lab/topology.ts'
import { labFor } from '../../lab/for-tests.ts'
import { cluster, Peer as LabPeer } from '../../lab/peer.ts'
import { twoSites } from '../../lab/topology.ts'
import { ping, tcp, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { sleep, timed, until } from '../../lab/wait.ts'
import { serveSites, type Mesh } from './two-sites.ts'

/** What the issue promises for an engine that was killed, ms. */
const engineBackMs = 2000
/** What is repaired, is repaired within this, ms ("within a second", and a busy machine). */
const repairedMs = 2000

describe('e2e: what survives what', function () {
  this.timeout(60_000)
  let mesh: Mesh
  let untouched: { a: Snapshot; b: Snapshot }

  before(async function () {
    const lab = await labFor(this, 'e2e-surv')
    const sites = await twoSites(lab)
    untouched = { a: await snapshotHost(sites.edgeA), b: await snapshotHost(sites.edgeB) }
    const options = { flags: ['--drain-timeout', '1s'] }
    const a = new LabPeer(sites.edgeA, options)
    const b = new LabPeer(sites.edgeB, options)
    await Promise.all([a.start(), b.start()])
    await cluster(a, b)
    mesh = { lab, sites, a, b, service: await serveSites({ a, b }) }
    await tcpServer(sites.server, SERVER.v4, { echo: 7001, greet: 7002 })
    await carries()
  })
  after(() => mesh?.lab.close())

  const greets = async (): Promise<boolean> =>
    (await tcp(mesh.sites.client, { address: SERVER.v4, port: 7002, waitMs: 400 })).text.startsWith('hello')
  const pings = async (): Promise<boolean> =>
    (await ping(mesh.sites.client, SERVER.v4, { count: 1, waitS: 1 })).received === 1
  const carries = async (timeoutMs = 10_000): Promise<void> => {
    await until('TCP to be carried', greets, { timeoutMs })
    await until('ping to be carried', pings, { timeoutMs })
  }

  it('engines do not get what the launcher sets for the memory of the agent', async () => {
    const environment = (pid: number): string[] => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const set = (pid: number): string[] => environment(pid).filter((one) => one.startsWith('MALLOC_'))
    assert.deepEqual(set(mesh.a.agent.pid), ['MALLOC_TRIM_THRESHOLD_=131072', 'MALLOC_ARENA_MAX=1'])
    for (const engine of ['pegasus', 'tempest']) assert.deepEqual(set(await enginePid(mesh.a, engine)), [])
  })

  for (const [where, engine] of [
    ['a', 'pegasus'],
    ['b', 'pegasus'],
    ['a', 'tempest'],
    ['b', 'tempest']
  ] as const) {
    it(`${engine} on edge-${where} is killed: back with its full state within ${engineBackMs} ms`, async () => {
      const peer = mesh[where]
      const pid = await enginePid(peer, engine)
      process.kill(pid, 'SIGKILL')
      const { ms } = await timed(() =>
        until(
          `${engine} to be back`,
          async () => {
            const again = (await peer.status()).dataplane.engines.find((one) => one.engine === engine)
            return again?.state === 'ready' && again.pid !== pid
          },
          { timeoutMs: engineBackMs }
        )
      )
      await until('traffic', engine === 'pegasus' ? greets : pings, { timeoutMs: engineBackMs - ms + 1000 })
      assert.notEqual(await enginePid(peer, engine), pid)
      await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
    })
  }

  for (const [where, signal] of [
    ['a', 'SIGKILL'],
    ['b', 'SIGKILL'],
    ['a', 'SIGUSR2'],
    ['b', 'SIGUSR2']
  ] as const) {
    it(`the agent on edge-${where} ends by ${signal} and starts again: no open flow notices`, async () => {
      const peer = mesh[where]
      const engines = [await enginePid(peer, 'pegasus'), await enginePid(peer, 'tempest')]
      const flow = await ticker(mesh.sites.client, SERVER.v4, 7001, 20)
      const code = await peer.end(signal)
      if (signal === 'SIGUSR2') assert.equal(code, 0)
      for (const pid of engines) assert.ok(peer.host.pids().includes(pid), `engine ${pid} is gone`)
      await carries()
      await peer.start()
      await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
      assert.deepEqual([await enginePid(peer, 'pegasus'), await enginePid(peer, 'tempest')], engines)
      await sleep(300)
      assert.ok(flow.running, flow.stdout.slice(-300))
      assertTicking(flow)
      await flow.stop()
      await carries()
    })
  }

  it('somebody flushes the whole ruleset: ours is back, and the log says what vanished', async () => {
    // Objects stand in the order in which they were made, over many changes or all at once.
    const objects = async (): Promise<string[]> =>
      (await mesh.a.host.exec(['nft', '-s', 'list', 'ruleset']))
        .match(/^table .*|^\t\w+ \S+ \{\n[^]*?^\t\}/gm)
        ?.toSorted() ?? []
    const wanted = await objects()
    assert.ok(wanted.includes('table inet arctic {'))
    const lines = mesh.a.log().length
    await mesh.a.host.exec(['nft', 'flush', 'ruleset'])
    const again = async (): Promise<boolean> => {
      assert.deepEqual(await objects(), wanted)
      return true
    }
    await until('the ruleset', again, { timeoutMs: repairedMs })
    await carries()
    assert.match(JSON.stringify(mesh.a.log().slice(lines)), /vanish|repair|gone|missing/)
  })

  it('somebody deletes our policy rules and our tunnel device: they are back', async () => {
    for (const peer of [mesh.a, mesh.b]) {
      const before_ = peer === mesh.a ? untouched.a : untouched.b
      const wanted = await snapshotHost(peer.host)
      const rules = added(before_.rules, wanted.rules)
      const devices = [...wanted.links.matchAll(/^\d+: (arct-[^:@]+)/gm)].map((match) => match[1] ?? '')
      assert.ok(devices.length > 0, wanted.links)
      for (const rule of rules) await peer.host.exec(['sh', '-c', `ip rule del ${rule.replace(/^(\d+):/, 'pref $1')}`])
      for (const device of devices) await peer.host.exec(['ip', 'link', 'del', device])
      await until(
        'rules and devices',
        async () => {
          const now = await snapshotHost(peer.host)
          assert.equal(now.rules, wanted.rules)
          assert.deepEqual(
            [...now.links.matchAll(/^\d+: (arct-[^:@]+)/gm)].map((match) => match[1]),
            devices
          )
          return true
        },
        { timeoutMs: repairedMs }
      )
    }
    await carries()
  })

  it('the wire is cut: both ends say degraded, and why', async () => {
    await mesh.sites.edgeA.ip(['link set wire0 down'])
    for (const peer of [mesh.a, mesh.b]) {
      const { status } = await peer.phase(mesh.service.id, 'degraded', 15_000)
      assert.ok(
        status.conditions.some(({ status: good, message }) => !good && message !== ''),
        JSON.stringify(status)
      )
    }
  })

  it('… and TCP is reset, rather than left to wait', async () => {
    const refused = await tcp(mesh.sites.client, { address: SERVER.v4, port: 7002, waitMs: 20_000 })
    assert.match(refused.how, /^ECONN(RESET|REFUSED)$/)
  })

  it('the wire is mended: carried again without a command', async () => {
    await mesh.sites.edgeA.ip(['link set wire0 up', 'addr replace fd00:9::1/64 dev wire0 nodad'])
    await Promise.all([mesh.a.active(mesh.service.id, 15_000), mesh.b.active(mesh.service.id, 15_000)])
    await carries()
    // Connections that died with the wire may still be found out, one by one; that has to have an end.
    const tenInARow = async (): Promise<boolean> => {
      for (let n = 0; n < 10; n++) if (!(await greets())) return false
      return true
    }
    await until('ten connections in a row', tenInARow, { timeoutMs: 20_000 })
  })

  it('SIGTERM ends open flows after the drain timeout and leaves both hosts byte for byte as they were', async () => {
    const flow = await ticker(mesh.sites.client, SERVER.v4, 7001, 20)
    assert.equal(await mesh.a.end('SIGTERM'), 0)
    assert.equal(await mesh.b.end('SIGTERM'), 0)
    await until('the flow to end', () => !flow.running, { timeoutMs: 2000 })
    for (const [peer, before_] of [
      [mesh.a, untouched.a],
      [mesh.b, untouched.b]
    ] as const) {
      assert.deepEqual(peer.host.pids(), [])
      assert.deepEqual(snapshotDiff(before_, await snapshotHost(peer.host)), [])
    }
  })

  it('started again after SIGTERM they carry again without a command, known by the same ids', async () => {
    await Promise.all([mesh.a.start(), mesh.b.start()])
    await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
    await carries()
  })

  it('killed with everything of theirs, the next start cleans up or adopts what was left and carries', async () => {
    for (const peer of [mesh.a, mesh.b]) {
      await peer.end('SIGKILL')
      for (const pid of peer.host.pids()) process.kill(pid, 'SIGKILL')
    }
    await Promise.all([mesh.a.start(), mesh.b.start()])
    await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
    await carries()
    await mesh.a.end('SIGTERM')
    await mesh.b.end('SIGTERM')
    assert.deepEqual(snapshotDiff(untouched.a, await snapshotHost(mesh.a.host)), [])
    assert.deepEqual(snapshotDiff(untouched.b, await snapshotHost(mesh.b.host)), [])
  })
})

async function enginePid(peer: Peer, engine: string): Promise<number> {
  const status: StatusJson = await peer.status()
  const found = status.dataplane.engines.find((one) => one.engine === engine)
  assert.ok(found?.pid != null, `${engine} on ${peer.host.name}: ${JSON.stringify(found)}`)
  return found.pid
}

/** Answers came all the time: no gap that a person would notice, whatever happened to the agents. */
function assertTicking(flow: Task): void {
  const ticks = flow.json().filter((line) => line['event'] === 'tick')
  const slowest = Math.max(...ticks.map((line) => Number(line['ms'])))
  assert.ok(ticks.length > 20, `${ticks.length} ticks`)
  assert.ok(slowest < 1000, `an answer took ${slowest} ms`)
}

const added = (before_: string, after_: string): string[] =>
  after_.split('\n').filter((line) => line !== '' && !before_.split('\n').includes(line))
