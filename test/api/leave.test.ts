import assert from 'node:assert/strict'
import { clusterText } from '../../src/api/cli/views/cluster.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B, EDGE_C } from './memory-operator.ts'

describe('api and cli: leaving a cluster', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('asks first on a terminal, unless told --yes', async () => {
    const no = await host.cli(['cluster', 'leave'], { terminal: 'n\n' })
    assert.deepEqual([no.exit, no.out], [1, ''])
    assert.match(no.err, /^Leave cluster test of 2 members\? .* \[y\/N\] this peer has not left\n$/)
    assert.notEqual(host.operator.cluster, null)
    const yes = await host.cli(['cluster', 'leave', '-y'])
    assert.deepEqual([yes.exit, yes.err], [0, ''])
    assert.match(yes.out, /^left cluster test; told edge-b; its log is kept as \/state/)
    assert.equal((await host.cli(['cluster', 'leave', '--yes'])).exit, 5)
  })

  it('says who could not be told', async () => {
    host.operator.unreached = ['edge-c']
    const left = await host.cli(['cluster', 'leave', '--yes', '-j'])
    assert.equal(left.json.missed[0].name, 'edge-c')
    assert.match(left.err, /^not reached: edge-c; the others tell them$/m)
  })

  it('answers with 200 over HTTP, and 409 in no cluster', async () => {
    assert.equal((await host.ask('POST', '/v1/cluster/leave', {})).json.name, 'test')
    const again = await host.ask('POST', '/v1/cluster/leave')
    assert.deepEqual([again.status, again.json.error.code], [409, 'not_in_cluster'])
  })

  it('shows in cluster status who has departed and how, and what is wrong with this peer', async () => {
    const cluster = await host.operator.clusterStatus()
    const at = '2026-01-01T00:00:00.000Z'
    const text = clusterText(
      {
        ...cluster,
        notice: 'this peer was revoked',
        departed: [
          { id: EDGE_B, name: 'edge-b', how: 'left', by: EDGE_B, by_name: 'edge-b', at },
          { id: EDGE_C, name: 'edge-c', how: 'proven', by: EDGE_A, by_name: null, at }
        ]
      },
      false
    )
    assert.match(text, /^notice: +this peer was revoked$/m)
    assert.match(text, /^edge-b +12D3KooWJWoaqZhD +left +- +2026/m)
    assert.match(text, /^edge-c +12D3KooWEyoppNCU +revoked: signed two things as one +12D3KooWDpJ7As7B +2026/m)
  })
})
