import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Peer } from '../../lab/peer.ts'
import { EDGE_B, SERVER } from '../../lab/topology.ts'
import { ping, stranger, tcp, tcpServer, type StrangerManner } from '../../lab/traffic/tools.ts'
import { carryingMeshOf, MIB, type Mesh } from './two-sites.ts'

/** How much more an agent or an engine may hold after all of this than before it, bytes. */
const growthMax = 96 * MIB
/** How many lines an agent may log about one onslaught. */
const linesMax = 60
const CONNECTIONS = 1000

/** Somebody on edge-b's network, without a key, at every port that edge-b opens. */
describe('e2e: strangers at the ports', function () {
  this.timeout(60_000)
  let mesh: Mesh

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-strange')
    await tcpServer(mesh.sites.server, SERVER.v4, { greet: 7002 })
    // The server's host is the stranger's: it reaches edge-b's ports, as anybody on that network does.
  })
  after(() => mesh?.lab.close())

  const onslaughts: Array<[what: string, port: number, manner: StrangerManner, count: number]> = [
    ['garbage at the mesh port', 7946, 'garbage', CONNECTIONS],
    ['lengths without an end at the mesh port', 7946, 'length', CONNECTIONS],
    ['names of no protocol at the mesh port', 7946, 'names', CONNECTIONS],
    ['slow bytes at the mesh port', 7946, 'slow', 200],
    ['silence at the mesh port', 7946, 'silent', CONNECTIONS],
    ['garbage at the data port', 7947, 'garbage', CONNECTIONS],
    ['slow bytes at the data port', 7947, 'slow', 200],
    ['silence at the data port', 7947, 'silent', CONNECTIONS],
    ['garbage datagrams at the data port', 7947, 'udp', 20_000],
    ['garbage datagrams at the port above', 7948, 'udp', 2000]
  ]
  for (const [what, port, manner, count] of onslaughts) {
    it(`${count} times ${what}: nothing grows, the log stays short, traffic goes on`, async () => {
      const { b, sites } = mesh
      const lines = b.log().length
      const memory = rssOf(b)
      const onslaught = stranger(sites.server, { address: EDGE_B.lan4, port, manner, count, holdMs: 2500 })
      assert.match((await tcp(sites.client, { address: SERVER.v4, port: 7002, waitMs: 1500 })).text, /^hello/)
      assert.ok((await ping(sites.client, SERVER.v4, { count: 3 })).received >= 2)
      const { connected } = await onslaught
      assert.ok(manner === 'udp' || connected >= count / 10, `only ${connected} got as far as connecting`)
      const logged = b.log().slice(lines)
      assert.ok(logged.length <= linesMax, `${logged.length} lines, e.g. ${JSON.stringify(logged.slice(-3))}`)
      const grown = rssOf(b) - memory
      assert.ok(grown < growthMax, `grew by ${Math.round(grown / MIB)} MiB`)
      assert.ok(b.agent.running)
      assert.equal((await b.status()).ready, true)
    })
  }

  it('after all of it the engines are the ones that were there, and members still find each other', async () => {
    const { a, b } = mesh
    for (const peer of [a, b]) {
      assert.deepEqual(
        (await peer.status()).dataplane.engines.map(({ restarts }) => restarts),
        [0, 0]
      )
      assert.ok((await peer.peers()).every(({ reachable }) => reachable))
    }
    await a.ask('services', 'update', mesh.service.id, '--name', 'renamed')
    await b.active(mesh.service.id)
  })
})

/** Resident bytes of all that runs on a peer's host: agent and engines. What ends while we look has none. */
function rssOf(peer: Peer): number {
  return peer.host.pids().reduce((sum, pid) => {
    try {
      return sum + Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
    } catch (error) {
      if (/^(ENOENT|ESRCH)$/.test((error as NodeJS.ErrnoException).code ?? '')) return sum
      throw error
    }
  }, 0)
}
