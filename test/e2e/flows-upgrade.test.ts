import assert from 'node:assert/strict'
import { appendFile, chmod, copyFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Peer } from '../../lab/peer.ts'
import type { Task } from '../../lab/task.ts'
import { SERVER } from '../../lab/topology.ts'
import { checkedFlows, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { builtEngines } from '../dataplane/support/engines.ts'
import { temporaryState } from '../dataplane/support/namespace.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

const ECHO = 7001

describe('e2e: a pegasus of another build takes over', function () {
  this.timeout(90_000)
  const files = temporaryState()
  let mesh: Mesh

  /** Puts another build in the place of the one that runs; agents that start from now on take it. */
  const build = async (): Promise<void> => {
    const path = join(files.enginesDir, 'pegasus')
    await copyFile(join(builtEngines() ?? '', 'pegasus'), `${path}.new`)
    await appendFile(`${path}.new`, `another build of ${process.hrtime.bigint()}`)
    await chmod(`${path}.new`, 0o755)
    await rename(`${path}.new`, path)
  }
  const engine = async (peer: Peer) => {
    const found = (await peer.status()).dataplane.engines.find((one) => one.engine === 'pegasus')
    assert.ok(found)
    return found
  }
  const draining = async (peer: Peer): Promise<number[]> => (await engine(peer)).draining.map(({ pid }) => pid)
  /** Starts the agent again, as an upgrade does, and waits until the new build is at work. */
  const upgrade = async (peer: Peer): Promise<{ before: number }> => {
    const before = (await engine(peer)).pid ?? 0
    await build()
    assert.equal(await peer.end('SIGUSR2'), 0)
    await peer.start()
    await peer.active(mesh.service.id)
    await until('the new build to be at work', async () => (await engine(peer)).pid !== before, { timeoutMs: 10_000 })
    return { before }
  }
  const traffic = (seed: string) => checkedFlows(mesh.sites.client, { address: SERVER.v4, port: ECHO, seed, atOnce: 6 })
  const isWhole = async (flows: Awaited<ReturnType<typeof traffic>>): Promise<void> => {
    const { whole, bytes, ...bad } = await flows.stop()
    assert.ok(whole >= 6 && bytes > 0, `${whole} flows, ${bytes} bytes`)
    const told = [mesh.a, mesh.b].flatMap((peer) =>
      peer.log().filter(({ message, reason }) => message === 'flow closed' && reason !== 'closed')
    )
    const seen = JSON.stringify([flows.errors(), told.slice(-20)])
    assert.deepEqual(bad, { event: 'done', cut: 0, reset: 0, wrong: 0, hung: 0, refused: 0 }, seen)
  }
  const goesOn = async (flow: Task): Promise<void> => {
    const ticks = flow.json().length
    await until('the open flow to go on', () => flow.json().length > ticks + 5, { timeoutMs: 10_000 })
    assert.ok(flow.running, flow.stdout.slice(-300))
  }
  const opened: Task[] = []
  const open = async (): Promise<Task> => {
    const flow = await ticker(mesh.sites.client, SERVER.v4, ECHO, 20)
    opened.push(flow)
    return flow
  }
  const alone = (peer: Peer): Promise<unknown> =>
    until(`${peer.host.name} to have one pegasus`, async () => (await draining(peer)).length === 0, {
      timeoutMs: 20_000
    })

  before(async function () {
    for (const name of ['pegasus', 'tempest']) {
      await copyFile(join(builtEngines() ?? '', name), join(files.enginesDir, name))
    }
    mesh = await carryingMeshOf(this, 'e2e-flows', { env: { ARCTIC_ENGINES: files.enginesDir } })
    await tcpServer(mesh.sites.server, SERVER.v4, { echo: ECHO })
  })
  // One that fails leaves no flow to the next.
  afterEach(async () => {
    for (const flow of opened.splice(0)) if (flow.running) await flow.stop()
  })
  after(() => {
    mesh?.lab.close()
    files.remove()
  })

  for (const transport of ['tcp', 'kcp'] as const) {
    for (const where of ['source', 'target', 'both'] as const) {
      it(`at the ${where}, over ${transport}: no flow ends, no connection fails, and all are counted`, async () => {
        await mesh.a.ask('services', 'update', mesh.service.id, '--transport', transport)
        await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
        const peers = { source: [mesh.a], target: [mesh.b], both: [mesh.a, mesh.b] }[where]
        const flow = await open()
        const flows = await traffic(`${transport} ${where}`)
        for (const peer of peers) {
          const { before } = await upgrade(peer)
          assert.deepEqual(await draining(peer), [before])
          assert.match((await peer.cli('status')).stdout, new RegExp(`pegasus +draining +${before}`))
        }
        await goesOn(flow)
        await isWhole(flows)
        for (const peer of peers) {
          const counted = async (): Promise<boolean> => (await peer.service(mesh.service.id))?.status.flows === 1
          await until('the one flow of the build before to be counted', counted, { timeoutMs: 10_000 })
        }
        await flow.stop()
        for (const peer of peers) await alone(peer)
        await isWhole(await traffic('after').then(async (more) => (await sleepFor(500), more)))
      })
    }
  }

  it('a second one while the first still waits for a flow: all three builds carry theirs', async () => {
    const first = await open()
    const one = await upgrade(mesh.b)
    await until('warm carriers to be replaced', async () => (await more()).running, { timeoutMs: 5000 })
    const two = await upgrade(mesh.b)
    const flows = await traffic('third')
    assert.deepEqual((await draining(mesh.b)).toSorted(), [one.before, two.before].toSorted())
    await goesOn(first)
    await isWhole(flows)
    await first.stop()
    for (const flow of others.splice(0)) await flow.stop()
    await alone(mesh.b)
  })

  it('the one before is killed: its flows end, the others do not notice', async () => {
    const flow = await open()
    const { before } = await upgrade(mesh.a)
    const flows = await traffic('killed before')
    process.kill(before, 'SIGKILL')
    await until('its flow to end', () => !flow.running, { timeoutMs: 15_000 })
    await alone(mesh.a)
    await isWhole(flows)
  })

  it('the new one is killed: flows of the one before go on, and another new one takes over', async () => {
    const flow = await open()
    const { before } = await upgrade(mesh.a)
    const killed = (await engine(mesh.a)).pid ?? 0
    process.kill(killed, 'SIGKILL')
    await until(
      'another one to be at work',
      async () => {
        const { pid, state } = await engine(mesh.a)
        return state === 'ready' && pid !== killed && pid !== null
      },
      { timeoutMs: 15_000 }
    )
    assert.deepEqual(await draining(mesh.a), [before])
    await mesh.a.active(mesh.service.id)
    await goesOn(flow)
    const flows = await traffic('killed after')
    await sleepFor(500)
    await isWhole(flows)
    await flow.stop()
    await alone(mesh.a)
  })

  it('the agent is killed meanwhile: the next one finds both, and the flow of the one before goes on', async () => {
    const flow = await open()
    const { before } = await upgrade(mesh.a)
    const { pid } = await engine(mesh.a)
    await mesh.a.end('SIGKILL')
    await goesOn(flow)
    await mesh.a.start()
    await mesh.a.active(mesh.service.id)
    assert.deepEqual([(await engine(mesh.a)).pid, await draining(mesh.a)], [pid, [before]])
    await goesOn(flow)
    await flow.stop()
    await alone(mesh.a)
  })

  it('a drain ends all of them', async () => {
    const flow = await open()
    await upgrade(mesh.a)
    assert.equal(await mesh.a.end('SIGTERM'), 0)
    assert.deepEqual(mesh.a.host.pids(), [])
    await until('its flow to end', () => !flow.running, { timeoutMs: 15_000 })
    await mesh.a.start()
    await mesh.a.active(mesh.service.id)
  })

  it('a peer that is revoked meanwhile is cut off from the flows of the one before as well', async () => {
    const flow = await open()
    await upgrade(mesh.a)
    await goesOn(flow)
    await mesh.a.ask('peers', 'revoke', 'edge-b', '--yes')
    await until('its flow to end', () => !flow.running, { timeoutMs: 15_000 })
    await alone(mesh.a)
  })

  const others: Task[] = []
  const more = async (): Promise<Task> => {
    const flow = await open()
    others.push(flow)
    return flow
  }
})

const sleepFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
