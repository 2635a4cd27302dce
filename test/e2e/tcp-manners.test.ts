import assert from 'node:assert/strict'
import { SERVER } from '../../lab/topology.ts'
import type { Task } from '../../lab/task.ts'
import { payload, sha256 } from '../../lab/traffic/payload.ts'
import { tcp, tcpServer } from '../../lab/traffic/tools.ts'
import type { TcpOrder } from '../../lab/traffic/tcp-client.ts'
import { until } from '../../lab/wait.ts'
import { carryingMeshOf, MIB, type Mesh } from './two-sites.ts'

const PORTS = { echo: 7001, greet: 7002, digest: 7003, burst: 7004, reset: 7005, hold: 7006 }

/** The cases that relays get wrong: both ends have to see what they would see without one. */
describe('e2e: TCP keeps its manners through the mesh', function () {
  this.timeout(40_000)
  let mesh: Mesh
  const servers: Record<'v4' | 'v6', Task | null> = { v4: null, v6: null }

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-tcp')
    for (const family of ['v4', 'v6'] as const) {
      servers[family] = await tcpServer(mesh.sites.server, SERVER[family], PORTS)
    }
  })
  after(() => mesh?.lab.close())

  for (const family of ['v4', 'v6'] as const) {
    const to = (manner: keyof typeof PORTS): TcpOrder => ({
      address: SERVER[family],
      port: PORTS[manner],
      waitMs: 10_000
    })
    /** How the server saw its connections of that manner end, in order. */
    const ends = (manner: string): string[] =>
      (servers[family]?.json() ?? [])
        .filter((line) => line['event'] === 'closed' && line['manner'] === manner)
        .map((line) => String(line['how']))

    describe(`over IP${family}`, () => {
      it('the server speaks first', async () => {
        const outcome = await tcp(mesh.sites.client, { ...to('greet'), waitMs: 1500 })
        assert.deepEqual([outcome.connected, outcome.how], [true, 'open'])
        assert.match(outcome.text, /^hello/)
      })

      it('half-close by the client: the server still answers after it', async () => {
        const outcome = await tcp(mesh.sites.client, { ...to('digest'), sendBytes: 8 * MIB, end: true })
        assert.deepEqual([outcome.how, outcome.text], ['end', `${8 * MIB} ${sha256(payload('upload', 8 * MIB))}`])
      })

      it('half-close by the server: the client can still send', async () => {
        const outcome = await tcp(mesh.sites.client, { ...to('burst'), sendBytes: 2 * MIB })
        assert.deepEqual([outcome.how, outcome.received], ['end', MIB])
        await until('the server to have read it all', () => ends('burst').length === 1, { timeoutMs: 3000 })
        const closed = servers[family]?.json().find((line) => line['event'] === 'closed' && line['manner'] === 'burst')
        assert.deepEqual([closed?.['how'], closed?.['bytes_read']], ['end', 2 * MIB])
      })

      it('a reset by the server reaches the client as a reset', async () => {
        assert.equal((await tcp(mesh.sites.client, { ...to('reset'), send: 'x' })).how, 'ECONNRESET')
      })

      it('a reset by the client reaches the server as a reset', async () => {
        const outcome = await tcp(mesh.sites.client, { ...to('echo'), sendBytes: MIB, resetAfter: 1000 })
        assert.equal(outcome.how, 'reset by client')
        await until('the server to see it', () => ends('echo').length === 1, { timeoutMs: 3000 })
        assert.deepEqual(ends('echo'), ['ECONNRESET'])
      })

      it('an orderly end by both is an orderly end to both', async () => {
        const outcome = await tcp(mesh.sites.client, { ...to('echo'), sendBytes: MIB, end: true })
        assert.deepEqual([outcome.how, outcome.sha256], ['end', sha256(payload('upload', MIB))])
        await until('the server to see it', () => ends('echo').length === 2, { timeoutMs: 3000 })
        assert.equal(ends('echo')[1], 'end')
      })

      it('a destination that refuses ends the flow by a reset, soon', async () => {
        const outcome = await tcp(mesh.sites.client, { address: SERVER[family], port: 7999, waitMs: 5000 })
        assert.match(outcome.how, /^ECONN(RESET|REFUSED)$/)
        assert.ok(outcome.ms < 2000, `${outcome.ms} ms`)
      })
    })
  }

  it('a connection that says nothing for a while stays open', async () => {
    const order: TcpOrder = { address: SERVER.v4, port: PORTS.hold, waitMs: 5000 }
    const outcome = await tcp(mesh.sites.client, order)
    assert.deepEqual([outcome.connected, outcome.how], [true, 'open'])
  })
})
