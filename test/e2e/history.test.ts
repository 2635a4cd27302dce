import assert from 'node:assert/strict'
import type { ChangeJson, UndoneJson, VerificationJson } from '../../src/actors/operator/history-json.ts'
import type { PastServiceJson, RouteTestJson, WaitJson } from '../../src/actors/operator/operator.ts'
import { SERVER } from '../../lab/topology.ts'
import { tcp, tcpServer } from '../../lab/traffic/tools.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

describe('e2e: back in time', function () {
  this.timeout(60_000)
  let mesh: Mesh
  let deletion: string
  let routed: string

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-hist')
    await tcpServer(mesh.sites.server, SERVER.v4, { greet: 7002 })
  })
  after(() => mesh?.lab.close())

  const greeting = async (): Promise<string> =>
    (await tcp(mesh.sites.client, { address: SERVER.v4, port: 7002, waitMs: 3000 })).text
  const packet = ['--source', '10.1.0.2', '--dest', SERVER.v4]

  it('the trace names who put the winner there, on the other host too', async () => {
    const { a, b, service } = mesh
    const traced = await a.ask<RouteTestJson>('routes', 'test', ...packet, '--trace')
    assert.partialDeepStrictEqual(traced, { service_id: service.id, change: { author_name: 'edge-a' } })
    routed = traced.change?.at ?? ''
    const known = await b.ask<ChangeJson[]>('cluster', 'history', '--service', service.id)
    assert.ok(known.some(({ id, verified }) => id === traced.change?.id && verified))
  })

  it('a service that was deleted is undeleted with its id and routes, from the other host, and carries again', async () => {
    const { a, b, service } = mesh
    assert.match(await greeting(), /^hello/)
    const gone = await a.ask<{ wait: WaitJson }>('services', 'delete', service.id, '--yes', '--wait', '10s')
    assert.equal(gone.wait.done, true)
    assert.doesNotMatch(await greeting(), /^hello/)
    deletion = (await b.ask<ChangeJson[]>('cluster', 'history', '-n', '1'))[0]?.id ?? ''
    const undone = await b.ask<UndoneJson & { wait: WaitJson }>(
      'cluster',
      'undo',
      deletion.slice(0, 12),
      '--wait',
      '10s'
    )
    assert.deepEqual([undone.undone, undone.wait.done], [deletion, true])
    assert.match(await greeting(), /^hello/)
    assert.equal((await a.active(service.id)).id, service.id)
  })

  it('it cannot be undone twice: what has come since is named', async () => {
    const again = await mesh.a.cli('cluster', 'undo', deletion, '-j')
    assert.equal(again.code, 5)
    const { details } = JSON.parse(again.stderr).error
    assert.deepEqual([details.kind, details.id], ['service', mesh.service.id])
  })

  it('the past answers on both hosts alike: gone just after the deletion, there before', async () => {
    const { a, b, service } = mesh
    for (const peer of [a, b]) {
      assert.deepEqual(await peer.ask('services', 'list', '--at', deletion), [])
      const before = await peer.ask<PastServiceJson[]>('services', 'list', '--at', routed)
      assert.deepEqual(
        before.map(({ id, status }) => [id, status]),
        [[service.id, null]]
      )
      const then = await peer.ask<RouteTestJson>('routes', 'test', ...packet, '--at', deletion)
      assert.deepEqual([then.handler, then.service_id], ['none', null])
    }
  })

  it('both hold a history without a flaw', async () => {
    const [a, b] = await Promise.all(
      [mesh.a, mesh.b].map((peer) => peer.ask<VerificationJson>('cluster', 'history', '--verify'))
    )
    assert.deepEqual([a?.ok, b?.ok], [true, true])
    assert.ok((a?.verified ?? 0) >= 7, JSON.stringify(a))
  })
})
