import assert from 'node:assert/strict'
import type { ChangeJson } from '../../src/actors/operator/history-json.ts'
import type { NewTokenJson } from '../../src/actors/operator/tokens.ts'
import { until } from '../../lab/wait.ts'
import { ARCTIC, type Peer } from '../../lab/peer.ts'
import { meshOf, type Mesh } from './two-sites.ts'

const SOON = { timeoutMs: 20_000 }

describe('e2e: tokens', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>

  before(async function () {
    mesh = await meshOf(this, 'e2e-tokens')
  })
  after(() => mesh?.lab.close())

  const remote = (peer: Peer, token: string, ...words: string[]) =>
    peer.host.attempt([ARCTIC, '--api', 'http://127.0.0.1:8080', '--token', token, ...words])

  it('made at one peer work at another, stand in its history, and stop at both when revoked', async () => {
    const { a, b } = mesh
    const made = await a.ask<NewTokenJson>('tokens', 'create', '--scope', 'services.write', '--name', 'ci')
    const { token } = made
    await until('the token to arrive', async () => (await remote(b, token, 'services', 'list')).code === 0, SOON)
    const create = ['services', 'create', '--source-peer', 'edge-a', '--target-peer', 'edge-b', '--name', 'by-token']
    assert.equal((await remote(b, token, ...create)).code, 0)
    const forbidden = await remote(b, token, 'peers', 'list')
    assert.deepEqual([forbidden.code, /peers\.read/.test(forbidden.stderr)], [6, true])

    const change = await until(
      'the change to arrive',
      async () => {
        const changes = await a.ask<ChangeJson[]>('cluster', 'history')
        return changes.find(({ objects }) => objects.some(({ name }) => name === 'by-token'))
      },
      SOON
    )
    assert.deepEqual([change.author_name, change.via, change.verified], ['edge-b', `token ${made.id} ci`, true])

    await b.ask('tokens', 'revoke', made.id, '--yes')
    assert.equal((await remote(b, token, 'services', 'list')).code, 6)
    await until('the revocation to arrive', async () => (await remote(a, token, 'services', 'list')).code === 6, SOON)
    for (const peer of [a, b]) assert.ok(!JSON.stringify(peer.log()).includes(token.slice(-43)))
  })
})
