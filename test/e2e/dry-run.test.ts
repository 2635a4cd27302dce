import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Applied } from '../../src/api/declare/applier.ts'
import type { Peer } from '../../lab/peer.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

const MESH = `services:
  - name: offices
    source_peer: edge-a
    target_peer: edge-b
    routes:
      - dest_cidr: 10.2.0.0/24
      - dest_cidr: 10.77.0.0/16
`

describe('e2e: apply --dry-run', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let file: string

  before(async function () {
    mesh = await meshOf(this, 'e2e-dry')
    file = join(mesh.lab.directory, 'mesh.yaml')
    writeFileSync(file, MESH)
  })
  after(() => mesh?.lab.close())

  const table = ({ host }: Peer): Promise<string> => host.exec(['nft', 'list', 'table', 'inet', 'arctic'])
  const dryRun = (peer: Peer, ...flags: string[]): Promise<Applied> =>
    peer.ask('apply', '-f', file, '--dry-run', ...flags)

  it('says which lines of nft would come on each peer, and changes nothing', async () => {
    const { a, b } = mesh
    // Who has just joined may not have looked at its host yet, and says so.
    const known = async (): Promise<Applied['rules']> => {
      const { rules } = await dryRun(a)
      return rules?.every(({ problem }) => problem == null) === true ? rules : null
    }
    await until('both to know their rules', known, { timeoutMs: 20_000 })
    const { rules } = await dryRun(a)
    assert.deepEqual(rules?.map(({ name, problem, removed }) => [name, problem, removed.length]).toSorted(), [
      ['edge-a', null, 0],
      ['edge-b', null, 0]
    ])
    const linesOn = (name: string): string[] => rules?.find((peer) => peer.name === name)?.added ?? []
    const target = (map: string, network: string, chain: string): RegExp =>
      new RegExp(`^map ${map}: ${network.replaceAll('.', '\\.')} : goto ${chain}_7NEW00001`)
    for (const network of ['10.2.0.0', '10.77.0.0']) {
      const length = network === '10.2.0.0' ? 24 : 16
      assert.ok(linesOn('edge-a').some((line) => target(`route_4_x_${length}`, network, 'service').test(line)))
      assert.ok(linesOn('edge-b').some((line) => target(`cover_1_4_x_${length}`, network, 'accept').test(line)))
    }
    for (const peer of [a, b]) assert.doesNotMatch(await table(peer), /10\.77\.0\.0|NEW/)
    assert.deepEqual(await a.ask('services', 'list'), [])
  })

  it('and what it said has come once it is applied; taking a route away is told as what goes', async () => {
    const { a, b } = mesh
    await a.ask('apply', '-f', file, '--wait', '20s')
    for (const [peer, chain] of [
      [a, 'service'],
      [b, 'accept']
    ] as const) {
      const now = await table(peer)
      for (const network of ['10.2.0.0', '10.77.0.0']) assert.match(now, new RegExp(`${network} : goto ${chain}_`))
    }
    writeFileSync(file, MESH.replace(/\n.*10\.77.*/, ''))
    const { rules } = await dryRun(b)
    for (const { added, removed, name } of rules ?? []) {
      assert.deepEqual(added, [], name ?? '')
      assert.ok(
        removed.some((line) => line.includes('10.77.0.0 : goto')),
        JSON.stringify(removed)
      )
      assert.ok(!removed.some((line) => line.includes('10.2.0.0')), JSON.stringify(removed))
    }
    assert.equal(rules?.length, 2)
  })

  it('says of a peer that cannot be reached that its lines are not known', async () => {
    const { a, b } = mesh
    await b.end('SIGKILL')
    const text = async (): Promise<string> => (await a.cli('apply', '-f', file, '--dry-run')).stdout
    const unknown = /rules on edge-b: not known, it cannot be reached now/
    await until('edge-b to be missed', async () => unknown.test(await text()), { timeoutMs: 20_000 })
    assert.match(await text(), /^rules on edge-a:$/m)
  })
})
