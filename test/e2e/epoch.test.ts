import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ChangeJson, EpochJson, VerificationJson } from '../../src/actors/operator/history-json.ts'
import type { ClusterJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import { askApi } from '../../lab/api.ts'
import { cluster, invite } from '../../lab/peer.ts'
import { until } from '../../lab/wait.ts'
import { threeSites, type ThreeSites } from './three-sites.ts'

describe('e2e: joining by a snapshot', function () {
  this.timeout(180_000)
  let mesh: ThreeSites
  let epoch: EpochJson

  before(async function () {
    mesh = await threeSites(this, 'e2e-epoch')
    await cluster(mesh.a, mesh.b)
    const [source, target] = [await mesh.a.id, await mesh.b.id]
    for (let i = 0; i < 80; i++) {
      const service = { source_peer_id: source, target_peer_id: target, name: `s${i}` }
      assert.equal((await askApi(mesh.a.socket, 'POST', '/v1/services', service)).status, 201)
    }
  })
  after(() => mesh?.lab.close())

  const history = async (): Promise<ClusterJson['history']> =>
    (await mesh.c.ask<ClusterJson>('cluster', 'status')).history

  it('an admin signs what the history has come to, and everybody has it in the history', async () => {
    const { a, b } = mesh
    epoch = await a.ask<EpochJson>('cluster', 'epoch')
    assert.equal(epoch.author_name, 'edge-a')
    assert.ok(epoch.entries > 80)
    const isKnown = async (): Promise<boolean> => {
      const [last] = await b.ask<ChangeJson[]>('cluster', 'history', '-n', '1')
      return last?.id === epoch.id && last.valid && last.objects[0]?.action === 'epoch'
    }
    await until('edge-b to have the epoch', isKnown, { timeoutMs: 10_000 })
  })

  it('who joins serves at once; killed before it has verified all, it goes on where it was', async () => {
    const { a, c } = mesh
    await c.ask('cluster', 'join', await invite(a))
    assert.equal((await c.ask<ServiceJson[]>('services', 'list')).length, 80)
    // The first segment of so short a history is there for no other reason.
    assert.ok(existsSync(join(c.stateDir, 'cluster', 'archive', '000001')))
    await c.end('SIGKILL')
    await c.start()
    assert.equal((await c.ask<ServiceJson[]>('services', 'list')).length, 80)
    await until('all to be verified', async () => (await history()).state === 'verified', { timeoutMs: 30_000 })
    assert.equal((await history()).contradiction, null)
    const verification = await c.ask<VerificationJson>('cluster', 'history', '--verify')
    assert.ok(verification.ok && verification.verified >= epoch.entries)
  })

  it('what it writes is in force elsewhere, and all agree', async () => {
    const { b, c } = mesh
    const { id } = await c.ask<ServiceJson>('services', 'create', '--target-peer', 'edge-b', '--name', 'by c')
    const isThere = async (): Promise<boolean> =>
      (await b.ask<ServiceJson[]>('services', 'list')).some((one) => one.id === id)
    await until('edge-b to have it', isThere, { timeoutMs: 10_000 })
    const agreed = async (): Promise<boolean> => (await c.ask<ClusterJson>('cluster', 'status')).agreed
    await until('all to agree', agreed, { timeoutMs: 10_000 })
  })
})
