import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import type { ConnectionsJson } from '../../src/actors/operator/connections.ts'
import type { Rehearsal } from '../../sim/rehearse/rehearse.ts'
import { askApi } from '../../lab/api.ts'
import { CLIENT, EDGE_B, SERVER } from '../../lab/topology.ts'
import { until } from '../../lab/wait.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

/** In nobody's way before the change: beside edge-b, on the network between the edges. */
const ELSEWHERE = '10.9.0.77'

describe('e2e: rehearsal from what goes through the hosts', function () {
  this.timeout(120_000)
  let mesh: Mesh

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-rehearse')
  })
  after(() => mesh?.lab.close())

  const through = async (peer: string): Promise<string[]> => {
    const { status, body } = await askApi(mesh.a.socket, 'GET', `/v1/connections?peer=${peer}`)
    assert.equal(status, 200)
    return (body as ConnectionsJson).connections.map(({ source, dest }) => `${source} ${dest}`)
  }
  const rehearse = async (services: object[]): Promise<Rehearsal> => {
    const file = mesh.sites.edgeA.path('change.json')
    await writeFile(file, JSON.stringify({ services }))
    const { stdout } = await mesh.a.cli('sim', 'rehearse', '-f', file, '-j', '--prune')
    return JSON.parse(stdout) as Rehearsal
  }
  const pairs = (flows: Rehearsal['moved']): string[] => flows.map(({ source, dest }) => `${source} ${dest}`)

  it('each member tells UDP and ICMP, carried or in the clear, and nothing of the mesh itself', async () => {
    const { client } = mesh.sites
    await client.exec(['ping', '-c', '2', SERVER.v4])
    await client.exec(['ping', '-c', '2', SERVER.v6])
    await client.attempt(['ping', '-c', '1', '-W', '1', ELSEWHERE])
    await client.exec(['bash', '-c', `echo hello > /dev/udp/${EDGE_B.wire4}/9`])
    const expected = [SERVER.v4, ELSEWHERE, EDGE_B.wire4].map((dest) => `${CLIENT.v4} ${dest}`)
    const told = await until(
      'edge-a to tell what goes through it',
      async () => {
        const all = await through('edge-a')
        return expected.every((pair) => all.includes(pair)) ? all : null
      },
      { timeoutMs: 10_000 }
    )
    assert.deepEqual(told.toSorted(), [...expected, `${CLIENT.v6} ${SERVER.v6}`].toSorted())
    // At the target the same packets come out of a tunnel, and the edges' own carriers, tunnels and gossip are no flows.
    assert.deepEqual(await through('edge-b'), [])
  })

  it('says which of them a change would drop, and which of those in the clear it would take', async () => {
    const service = { name: 'other', source_peer: 'edge-a', target_peer: 'edge-b' }
    const answer = await rehearse([{ ...service, routes: [{ dest_cidr: `${ELSEWHERE}/32` }] }])
    assert.deepEqual(pairs(answer.dropped).toSorted(), [`${CLIENT.v4} ${SERVER.v4}`, `${CLIENT.v6} ${SERVER.v6}`])
    assert.deepEqual(pairs(answer.appeared), [`${CLIENT.v4} ${ELSEWHERE}`])
    assert.deepEqual([answer.same, answer.connections_unknown, answer.violations], [1, [], []])
  })

  it('an agent of a member that is no admin is not told what goes through other hosts', async () => {
    await mesh.a.ask('peers', 'role', 'edge-b', 'member', '--wait')
    const { status, body } = await askApi(mesh.b.socket, 'GET', '/v1/connections?peer=edge-a')
    assert.equal(status, 403)
    assert.match(JSON.stringify(body), /only an admin is told what goes through other hosts/)
    assert.equal((await askApi(mesh.b.socket, 'GET', '/v1/connections')).status, 200)
  })
})
