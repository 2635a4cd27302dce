import assert from 'node:assert/strict'
import type { ClusterJson, LeaveJson, PeerJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import { askApi } from '../../lab/api.ts'
import { cluster, invite, type Peer } from '../../lab/peer.ts'
import { SERVER } from '../../lab/topology.ts'
import { ping, tcp, tcpServer, ticker, udpEcho, udpEchoServer } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { threeSites, type ThreeSites } from './three-sites.ts'
import { serveSites } from './two-sites.ts'

/** Two seconds are promised for a peer that is revoked; a busy machine gets as much again. */
const cutOffMs = 4000
const patienceMs = 10_000

describe('e2e: who belongs to the cluster', function () {
  this.timeout(120_000)
  let mesh: ThreeSites
  let between: ServiceJson

  before(async function () {
    mesh = await threeSites(this, 'e2e-members')
    await cluster(mesh.a, mesh.b)
    between = await serveSites(mesh)
    await tcpServer(mesh.sites.server, SERVER.v4, { echo: 7001, greet: 7002 })
    await udpEchoServer(mesh.sites.server, [SERVER.v4], 7003)
  })
  after(() => mesh?.lab.close())

  const peer = async (at: Peer, name: string): Promise<PeerJson> => at.ask<PeerJson>('peers', 'get', name)
  const refuses = async (at: Peer, argv: string[], exit: number, error: RegExp): Promise<void> => {
    const out = await at.cli(...argv)
    assert.deepEqual([out.code, out.stdout], [exit, ''], out.stderr)
    assert.match(out.stderr, error)
  }
  const greets = async (): Promise<boolean> =>
    (await tcp(mesh.clientC, { address: SERVER.v4, port: 7002, waitMs: 400 })).text.startsWith('hello')
  const fromC = async (at: Peer): Promise<ServiceJson> => {
    const routes = [['--dest-cidr', '10.2.0.0/24']]
    const service = await at.connect({ source: await mesh.c.id, target: 'edge-b', routes })
    await Promise.all([mesh.a, mesh.b, mesh.c].map((one) => one.active(service.id)))
    return service
  }

  it('a member may read and carry, and is refused what changes the cluster, until it is made an admin', async () => {
    const { a, c } = mesh
    await c.ask('cluster', 'join', await invite(a, '--role', 'member'))
    assert.equal((await c.ask<PeerJson[]>('peers', 'list')).length, 3)
    await refuses(
      c,
      ['services', 'create', '--target-peer', 'edge-b'],
      6,
      /^error: forbidden: only an admin .* "arctic peers role /
    )
    await refuses(c, ['cluster', 'invite'], 6, /^error: forbidden: /)
    await refuses(c, ['peers', 'revoke', 'edge-b', '--yes'], 6, /^error: forbidden: /)
    await refuses(c, ['services', 'delete', between.id, '--yes'], 6, /^error: forbidden: /)
    assert.equal((await a.ask<PeerJson>('peers', 'role', 'edge-c', 'admin')).role, 'admin')
    await until('edge-c to know', async () => (await peer(c, 'edge-c')).role === 'admin', { timeoutMs: patienceMs })
    const { id } = await c.ask<ServiceJson>('services', 'create', '--target-peer', 'edge-b')
    await c.ask('services', 'delete', id, '--yes')
  })

  it('a peer keeps the name that it was given, also when it is started with the old one', async () => {
    const { a, b, c } = mesh
    await b.ask('peers', 'rename', 'edge-c', 'branch')
    const isBranch = (at: Peer) => async (): Promise<boolean> => (await peer(at, await c.id)).name === 'branch'
    for (const at of [a, b, c]) await until('the new name', isBranch(at), { timeoutMs: patienceMs })
    await c.end('SIGTERM')
    await c.start()
    assert.ok(c.agent.argv.includes('edge-c'))
    await until('edge-c to be back', async () => (await peer(a, 'branch')).reachable, { timeoutMs: patienceMs })
    for (const at of [a, b, c]) assert.ok(await isBranch(at)())
    await refuses(a, ['peers', 'get', 'edge-c'], 4, /^error: peer_not_found: /)
  })

  it('a peer that leaves is forgotten at once, its service says so, and it may join again', async () => {
    const { a, b, c } = mesh
    const service = await fromC(a)
    await until('client-c to be carried', greets, { timeoutMs: patienceMs })
    const left = await c.ask<LeaveJson>('cluster', 'leave', '--yes')
    assert.deepEqual([left.told.map(({ name }) => name).sort(), left.missed], [['edge-a', 'edge-b'], []])
    for (const at of [a, b]) {
      assert.equal((await at.ask<PeerJson[]>('peers', 'list')).length, 2)
      const { conditions } = (await at.phase(service.id, 'degraded')).status
      assert.ok(conditions.some(({ reason, message }) => reason === 'PeerLeft' && /branch has left/.test(message)))
    }
    assert.equal((await c.status()).cluster, null)
    await until('nothing to be carried', async () => !(await greets()), { timeoutMs: patienceMs })
    await c.ask('cluster', 'join', await invite(b))
    await Promise.all([a, b, c].map((one) => one.active(service.id)))
    await until('client-c to be carried again', greets, { timeoutMs: patienceMs })
    await a.ask('services', 'delete', service.id, '--yes')
  })

  it('a revoked peer is cut off from mesh and traffic, whether or not it wants to know', async () => {
    const { a, b, c, sites, clientC } = mesh
    const id = await c.id
    const service = await fromC(b)
    const flow = await ticker(clientC, SERVER.v4, 7001, 20)
    const bystander = await ticker(sites.client, SERVER.v4, 7001, 20)
    await until('client-c to ping', async () => (await ping(clientC, SERVER.v4, { count: 1 })).received === 1, {
      timeoutMs: patienceMs
    })
    // Its agent stands still, as one would that pretends not to hear; its engines go on.
    c.agent.kill('SIGSTOP')
    assert.equal((await a.ask<PeerJson>('peers', 'revoke', id, '--yes')).state, 'revoked')
    const isCutOff = async (at: Peer): Promise<boolean> => {
      const { state, reachable, tunnels } = (await askApi(at.socket, 'GET', `/v1/peers/${id}`)).body as PeerJson
      return state === 'revoked' && !reachable && tunnels.length === 0
    }
    await Promise.all([
      until('the open flow to end', () => !flow.running, { timeoutMs: cutOffMs }),
      ...[a, b].map((at) => until(`${at.host.name} to have cut it off`, () => isCutOff(at), { timeoutMs: cutOffMs }))
    ])
    assert.equal((await ping(clientC, SERVER.v4)).received, 0)
    assert.equal((await udpEcho(clientC, { address: SERVER.v4, port: 7003, text: 'x', waitMs: 300 })).received, 0)
    assert.equal(await greets(), false)
    assert.ok(bystander.running)
    await bystander.stop()

    for (const at of [a, b]) {
      const { conditions } = (await at.phase(service.id, 'degraded')).status
      assert.ok(conditions.some(({ reason }) => reason === 'PeerRevoked'))
      assert.deepEqual((await at.ask<PeerJson[]>('peers', 'list')).map(({ name }) => name).sort(), ['edge-a', 'edge-b'])
      await until(
        'both members to have confirmed it',
        async () => (await peer(at, id)).departure?.awaited.length === 0,
        { timeoutMs: patienceMs }
      )
      const { departure } = await peer(at, id)
      assert.deepEqual(departure?.confirmed_by.map(({ name }) => name).sort(), ['edge-a', 'edge-b'])
      await at.active(between.id)
    }
  })

  it('when it listens again it is told, says what to do, and can never come back as the same peer', async () => {
    const { a, c } = mesh
    c.agent.kill('SIGCONT')
    await until('edge-c to know', async () => (await c.status()).cluster?.notice != null, { timeoutMs: 20_000 })
    const { notice, members } = await c.ask<ClusterJson>('cluster', 'status')
    assert.match(notice ?? '', /revoked from cluster "lab" by edge-a .*cluster leave/)
    assert.equal(members.length, 2)
    await refuses(c, ['services', 'create', '--target-peer', 'edge-b'], 6, /^error: forbidden: this peer was revoked/)
    await c.ask('cluster', 'leave', '--yes')
    await refuses(c, ['cluster', 'join', await invite(a)], 6, /^error: forbidden: this peer was revoked, for good; /)
    await c.ask('cluster', 'init', '--name', 'own')
    assert.equal((await c.ask<ClusterJson>('cluster', 'status')).members.length, 1)
  })

  it('all of it is in the history, by name', async () => {
    const { a } = mesh
    const { stdout: out } = await a.cli('cluster', 'history', '-n', '50')
    for (const sentence of [
      /edge-a .* peer \S+ admitted: role member/,
      /edge-a .* given another role: role member → admin/,
      /edge-b .* peer branch updated: name edge-c → branch/,
      /peer \S+ left/,
      /edge-a .* peer \S+ revoked/
    ]) {
      assert.match(out, sentence)
    }
    assert.ok(!out.includes('WRONG'))
  })
})
