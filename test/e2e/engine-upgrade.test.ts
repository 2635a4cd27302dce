import assert from 'node:assert/strict'
import { appendFile, chmod, copyFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Peer } from '../../lab/peer.ts'
import { SERVER } from '../../lab/topology.ts'
import { answered, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { builtEngines } from '../dataplane/support/engines.ts'
import { temporaryState } from '../dataplane/support/namespace.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

/** Packets 10 ms apart that may be lost while an engine takes over: those of a handshake, and of a busy machine. */
const lostMax = 100

describe('e2e: a tempest of another build takes over', function () {
  this.timeout(90_000)
  const files = temporaryState()
  const tempest = join(files.enginesDir, 'tempest')
  let mesh: Mesh

  /** Puts another file in the place of one that is running. */
  const replace = async (write: (path: string) => Promise<void>): Promise<void> => {
    await write(`${tempest}.new`)
    await chmod(`${tempest}.new`, 0o755)
    await rename(`${tempest}.new`, tempest)
  }
  const another = async (path: string): Promise<void> => {
    await copyFile(join(builtEngines() ?? '', 'tempest'), path)
    await appendFile(path, `another build of ${process.hrtime.bigint()}`)
  }
  const pid = async (peer: Peer): Promise<number | null> =>
    (await peer.status()).dataplane.engines.find(({ engine }) => engine === 'tempest')?.pid ?? null
  /** Starts the agent again under numbered packets; answers how many of them came back. */
  const restartUnderPings = async (count: number): Promise<number> => {
    const pings = answered(mesh.sites.client, SERVER.v4, { count, everyMs: 10 })
    assert.equal(await mesh.a.end('SIGUSR2'), 0)
    await mesh.a.start()
    await mesh.a.active(mesh.service.id)
    return await pings
  }

  before(async function () {
    for (const name of ['pegasus', 'tempest']) {
      await copyFile(join(builtEngines() ?? '', name), join(files.enginesDir, name))
    }
    mesh = await carryingMeshOf(this, 'e2e-upgrade', { env: { ARCTIC_ENGINES: files.enginesDir } })
    await tcpServer(mesh.sites.server, SERVER.v4, { echo: 7001 })
    const pings = async (): Promise<boolean> =>
      (await mesh.sites.client.attempt(['ping', '-c1', '-W1', SERVER.v4])).code === 0
    await until('pings to be carried', pings, { timeoutMs: 20_000 })
  })
  after(() => {
    mesh?.lab.close()
    files.remove()
  })

  it('of the same build the running one is adopted, and no packet is lost', async () => {
    const before_ = await pid(mesh.a)
    await replace((path) => copyFile(join(builtEngines() ?? '', 'tempest'), path))
    assert.equal(await restartUnderPings(800), 800)
    assert.equal(await pid(mesh.a), before_)
  })

  it('takes over when the agent starts again; what is lost is a handshake, and no flow', async () => {
    const before_ = await pid(mesh.a)
    const flow = await ticker(mesh.sites.client, SERVER.v4, 7001, 20)
    await replace(another)
    const received = await restartUnderPings(1500)
    assert.notEqual(await pid(mesh.a), before_)
    assert.ok(received >= 1500 - lostMax, `${received} of 1500 packets`)
    assert.ok(flow.running, flow.stdout.slice(-300))
    await flow.stop()
    assert.equal(mesh.a.host.pids().includes(before_ ?? 0), false, 'the one before is gone')
  })

  it('that cannot start leaves the running one in place, and the log says why', async () => {
    const before_ = await pid(mesh.a)
    await replace((path) => writeFile(path, '#!/bin/sh\nexit 3\n'))
    assert.equal(await restartUnderPings(500), 500)
    assert.equal(await pid(mesh.a), before_)
    const line = mesh.a.log().find(({ message }) => String(message).includes('did not start'))
    assert.deepEqual([line?.['reason'], line?.['binary']], ['exit 3', tempest])
  })

  it('the agent is killed while both are there: the next one goes on', async () => {
    const before_ = await pid(mesh.a)
    await replace(another)
    await mesh.a.end('SIGKILL')
    // What a kill in the middle leaves: a successor that was told nothing.
    const socket = join(mesh.a.stateDir, 'tempest', 'control.next')
    const stray = await mesh.a.host.spawn([tempest, '--control', socket])
    await until('the successor to listen', async () => stray.running, { timeoutMs: 5_000 })
    await mesh.a.start()
    await mesh.a.active(mesh.service.id)
    assert.notEqual(await pid(mesh.a), before_)
    await until('the stray one to end', () => !stray.running, { timeoutMs: 5_000 })
    assert.equal(await mesh.a.end('SIGTERM'), 0)
    assert.deepEqual(mesh.a.host.pids(), [])
  })
})
