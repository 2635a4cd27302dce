import assert from 'node:assert/strict'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import { labFor } from '../../lab/for-tests.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { cluster, Peer, type PeerOptions } from '../../lab/peer.ts'
import { until } from '../../lab/wait.ts'

const flags = ['--dataplane', 'none']
const timeoutMs = 40_000

/** A file system of its own for the state directory, seen by the agent alone and gone with it. */
const smallDisk: PeerOptions['starter'] = (stateDir) => [
  'unshare',
  '-m',
  'sh',
  '-c',
  'mount -t tmpfs -o size=1m,mode=700 tmpfs "$0" && exec "$@"',
  stateDir
]

/** edge-a ── hub ── twin */
describe('e2e: the state on disk', function () {
  this.timeout(120_000)
  let lab: Lab
  let hosts: { edge: Host; hub: Host; twin: Host }
  const running: Peer[] = []

  before(async function () {
    lab = await labFor(this, 'e2e-disk')
    const [edge, hub, twin] = [await lab.host('edge'), await lab.host('hub'), await lab.host('twin')]
    hosts = { edge, hub, twin }
    await lab.wire(
      { host: edge, device: 'eth0', addresses: ['10.9.1.1/24'] },
      { host: hub, device: 'eth0', addresses: ['10.9.1.2/24'] }
    )
    await lab.wire(
      { host: twin, device: 'eth0', addresses: ['10.9.2.1/24'] },
      { host: hub, device: 'eth1', addresses: ['10.9.2.2/24'] }
    )
  })
  afterEach(async () => {
    for (const peer of running.splice(0)) if (peer.agent.running) await peer.end('SIGTERM')
  })
  after(() => lab?.close())

  const start = async (host: Host, directory: string, options: PeerOptions = {}): Promise<Peer> => {
    const peer = new Peer(host, { directory, ...options, flags: [...flags, ...(options.flags ?? [])] })
    mkdirSync(peer.stateDir, { recursive: true, mode: 0o700 })
    running.push(await peer.start())
    return peer
  }
  const services = (peer: Peer): Promise<ServiceJson[]> => peer.ask<ServiceJson[]>('services', 'list')

  it('full: writes are refused and reads answered; with room again all goes on by itself', async () => {
    const hub = await start(hosts.hub, 'full')
    const edge = await start(hosts.edge, 'full', { starter: smallDisk })
    await cluster(hub, edge)
    const make = (by: Peer, name: string): Promise<{ code: number | null; stderr: string }> =>
      by.cli('services', 'create', '--source-peer', 'edge', '--target-peer', 'hub', '--name', name)
    assert.equal((await make(edge, 'before')).code, 0)
    await until('both to have it', async () => (await services(hub)).length === 1, { timeoutMs })

    const ballast = `/proc/${edge.agent.pid}/root${join(edge.stateDir, 'ballast')}`
    assert.throws(() => writeFileSync(ballast, new Uint8Array(4 * 1024 * 1024)), /ENOSPC/)
    // A page that was begun may have room for a few more.
    let refused = await make(edge, 'more-0')
    for (let i = 1; refused.code === 0; i++) refused = await make(edge, `more-${i}`)
    assert.equal(refused.code, 3)
    assert.match(refused.stderr, /^error: unavailable: .*the disk is full; free some space/)
    const held = await services(edge)
    assert.ok(held.some(({ name }) => name === 'before'))
    assert.equal((await edge.status()).ready, true)

    // The other one goes on; what it writes arrives once there is room, and nothing that was refused is anywhere.
    assert.equal((await make(hub, 'meanwhile')).code, 0)
    assert.equal((await edge.cli('routes', 'test', '--source', '10.0.0.1', '--dest', '10.0.0.2')).code, 0)
    rmSync(ballast)
    const arrived = async (): Promise<boolean> => (await services(edge)).some(({ name }) => name === 'meanwhile')
    await until('what the other wrote to arrive', arrived, { timeoutMs })
    assert.equal((await make(edge, 'after')).code, 0)
    const names = async (peer: Peer): Promise<string> => (await services(peer)).map(({ id }) => id).join()
    await until('both to hold the same', async () => (await names(edge)) === (await names(hub)), { timeoutMs })
    assert.equal((await services(edge)).length, held.length + 2)
  })

  it('copied to another host: both agents and the others say so; when one is stopped, all is well again', async () => {
    const hub = await start(hosts.hub, 'copied')
    const edge = await start(hosts.edge, 'copied')
    await cluster(hub, edge)
    const twinDir = hosts.twin.path('copied')
    cpSync(edge.stateDir, twinDir, { recursive: true })
    // On a real second host the lock would name a process that is not there.
    rmSync(join(twinDir, 'cluster', 'lock'))
    const twin = await start(hosts.twin, 'copied', { flags: ['--name', 'edge'] })
    const id = await edge.id
    assert.equal(await twin.id, id)

    for (const peer of [hub, edge, twin]) {
      await until(
        `${peer.host.name} to say it`,
        async () => {
          const { copied_identities: copied } = await peer.ask<ClusterJson>('cluster', 'status')
          return copied.some((one) => one.id === id && /state directory was copied/.test(one.message))
        },
        { timeoutMs }
      )
      assert.ok((await peer.status()).reasons.some((reason) => /state directory was copied/.test(reason)))
      assert.ok(peer.log().some((line) => /state directory was copied/.test(JSON.stringify(line))))
    }

    await twin.end('SIGTERM')
    await until(
      'the first to be reachable and agreed again',
      async () => {
        const { members, agreed } = await hub.ask<ClusterJson>('cluster', 'status')
        return agreed && members.every(({ reachable }) => reachable)
      },
      { timeoutMs }
    )
    const made = await edge.cli('services', 'create', '--source-peer', 'edge', '--target-peer', 'hub')
    assert.equal(made.code, 0, made.stderr)
  })
})
