import assert from 'node:assert/strict'
import type { DoctorJson } from '../../src/actors/operator/doctor.ts'
import type { Peer } from '../../lab/peer.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

describe('e2e: doctor', function () {
  this.timeout(60_000)
  let mesh: Mesh

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-doctor')
  })
  after(() => mesh?.lab.close())

  async function doctor(peer: Peer): Promise<DoctorJson & { code: number | null }> {
    const { code, stdout } = await peer.cli('doctor', '-j')
    return { code, ...(JSON.parse(stdout) as DoctorJson) }
  }

  it('finds nothing to mend on two hosts that carry traffic, whose kernels have our rules in them', async () => {
    for (const peer of [mesh.a, mesh.b]) {
      const { ok, code, checks } = await doctor(peer)
      assert.deepEqual([ok, code], [true, 0], JSON.stringify(checks))
      const names = checks.map(({ name }) => name)
      const other = peer === mesh.a ? 'edge-b' : 'edge-a'
      for (const name of ['packet marks', 'engine pegasus', `mesh to ${other}`, `data port of ${other}`, 'clock']) {
        assert.ok(names.includes(name), `${name} among ${names.join(', ')}`)
      }
    }
  })

  it('names the data port that a firewall has closed, and the peer behind it', async () => {
    const { a, b } = mesh
    const block =
      'table inet firewall {\nchain input {\ntype filter hook input priority 0; policy accept;\ntcp dport 7947 reject with tcp reset\n}\n}\n'
    await b.host.exec(['nft', '-f', '-'], { input: block })
    try {
      const { ok, code, checks } = await doctor(a)
      assert.deepEqual([ok, code], [false, 1])
      const failing = checks.filter(({ status }) => status === 'fail')
      assert.deepEqual(
        failing.map(({ name }) => name),
        ['data port of edge-b']
      )
      assert.match(failing[0]?.found ?? '', /ECONNREFUSED/)
    } finally {
      await b.host.exec(['nft', 'delete', 'table', 'inet', 'firewall'])
    }
    assert.equal((await doctor(a)).ok, true)
  })
})
