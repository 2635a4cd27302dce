import assert from 'node:assert/strict'
import { historyText } from '../../src/api/cli/views/history.ts'
import { clusterText } from '../../src/api/cli/views/cluster.ts'
import type { ChangeJson } from '../../src/actors/operator/history-json.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B } from './memory-operator.ts'

describe('api and cli: history', function () {
  this.timeout(20_000)
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('is an array, newest first, by service, by author and at most so many', async () => {
    const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'one' })).json
    await host.ask('PUT', `/v1/services/${id}`, { bandwidth_limit_mbps: 5 })
    await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'two' })
    const actions = (changes: ChangeJson[]): string[] => changes.flatMap(({ objects }) => objects.map((o) => o.action))
    assert.deepEqual(actions((await host.ask('GET', '/v1/cluster/history')).json), ['created', 'updated', 'created'])
    assert.deepEqual(actions((await host.ask('GET', `/v1/cluster/history?service=${id}`)).json), ['updated', 'created'])
    assert.deepEqual((await host.ask('GET', `/v1/cluster/history?author=${EDGE_B}`)).json, [])
    const shown = await host.cli(['cluster', 'history', '--service', id, '-n', '1', '-j'])
    assert.deepEqual(actions(shown.json), ['updated'])
    const read = await host.cli(['cluster', 'history', '--since', '1h'])
    assert.match(read.out, /^TIME +AUTHOR +CHANGE +SIGNATURE +WHAT\n/)
    assert.match(read.out, /edge-a +0{12} +verified +service two created/)
    const past = await host.cli(['cluster', 'history', '--until', '1h', '-j'])
    assert.deepEqual([past.exit, past.json], [0, []])
    const all = await host.cli(['cluster', 'history', '--until', '2100-01-01', '-j'])
    assert.equal(actions(all.json).length, 3)
  })

  it('refuses what it cannot read', async () => {
    for (const query of ['limit=0', 'limit=x', 'limit=100001', 'newest=1']) {
      const refused = await host.ask('GET', `/v1/cluster/history?${query}`)
      assert.deepEqual([refused.status, refused.json.error.code], [400, 'invalid_request'], query)
    }
    const since = await host.cli(['cluster', 'history', '--since', 'lately'])
    assert.deepEqual([since.exit, since.err.startsWith('error: invalid_request: --since "lately"')], [2, true])
    const gone = await host.cli(['cluster', 'history', '--service', '01J00000000000000000000000'])
    assert.deepEqual([gone.exit, gone.err.split(':')[1]?.trim()], [4, 'service_not_found'])
  })

  it('reads as sentences: what was, what is, and what does not count', () => {
    const change = (more: Partial<ChangeJson>): ChangeJson => ({
      id: 'ab'.repeat(32),
      at: '2026-01-01T00:00:00.000Z',
      author: EDGE_A,
      author_name: 'edge-a',
      via: null,
      kind: 'change',
      objects: [],
      verified: true,
      valid: true,
      reason: null,
      ...more
    })
    const lines = historyText(
      [
        change({
          objects: [
            {
              kind: 'route',
              id: '01J0',
              name: null,
              action: 'updated',
              fields: { priority: { before: 1, after: 2 }, source_cidr: { before: '10.0.0.0/8', after: null } }
            }
          ]
        }),
        change({
          author_name: null,
          kind: 'auth',
          valid: false,
          reason: 'its author was no admin',
          objects: [
            {
              kind: 'peer',
              id: EDGE_B,
              name: 'edge-b',
              action: 'role',
              fields: { role: { before: 'admin', after: 'member' } }
            }
          ]
        })
      ],
      { wide: false, colours: false }
    ).split('\n')
    assert.match(
      lines[1] ?? '',
      /edge-a +abababababab +verified +route 01J0 updated: priority 1 → 2, source_cidr 10.0.0.0\/8 → none$/
    )
    assert.match(
      lines[2] ?? '',
      /12D3KooWDpJ7As7B +\w+ +verified +peer edge-b given another role: role admin → member$/
    )
    assert.match(lines[3] ?? '', /^ +does not count: its author was no admin$/)
  })
})

describe('api and cli: verifying the history', function () {
  this.timeout(20_000)
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start()
    await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })
  })
  afterEach(() => host.stop())

  it('prints counts, and exits 0 when all is good', async () => {
    const told = await host.cli(['cluster', 'history', '--verify'])
    assert.deepEqual([told.exit, told.err], [0, ''])
    assert.match(told.out, /^history: +verified\n(.*\n)*changes: +1\n/)
    assert.equal((await host.cli(['cluster', 'history', '--verify', '-j'])).json.ok, true)
  })

  it('names the first flaw, and exits 1', async () => {
    const message = 'its hash is wrong'
    host.operator.flaw = { position: 7, id: 'ab'.repeat(32), author: EDGE_B, author_name: 'edge-b', message }
    const told = await host.cli(['cluster', 'history', '--verify'])
    assert.equal(told.exit, 1)
    assert.match(told.out, /^first flaw: +at 7, change (ab){32} of edge-b: its hash is wrong$/m)
    assert.match(told.err, /^error: internal: change abababababab has a flaw: its hash is wrong; .*\n$/)
    const json = await host.cli(['cluster', 'history', '--verify', '-j'])
    assert.deepEqual([json.exit, json.json.ok, JSON.parse(json.err).error.details.position], [1, false, 7])
    assert.equal((await host.ask('GET', '/v1/cluster/history/verify')).status, 200)
  })

  it('is about all there is', async () => {
    const told = await host.cli(['cluster', 'history', '--verify', '--since', '1h'])
    assert.deepEqual([told.exit, told.out], [2, ''])
    assert.match(told.err, /leave out --since/)
  })
})

describe('api and cli: epochs', function () {
  this.timeout(20_000)
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start()
  })
  afterEach(() => host.stop())

  it('are signed by a verb, which says what they cover', async () => {
    const { status, json } = await host.ask('POST', '/v1/cluster/epoch', {})
    assert.deepEqual([status, json.author_name, json.digest], [201, 'edge-a', 'd'.repeat(64)])
    const told = await host.cli(['cluster', 'epoch'])
    assert.deepEqual([told.exit, told.err], [0, ''])
    assert.match(
      told.out,
      /^epoch: +e{64}\nsigned: +\S+ by edge-a\ncovers: +0 entries\nsnapshot: +4\.0 KiB, sha256 d{64}\n$/m
    )
    assert.equal((await host.cli(['cluster', 'epoch', '-j'])).json.bytes, 4096)
    assert.match((await host.cli(['explain', 'epoch'])).out, /entries/)
    assert.equal((await host.ask('POST', '/v1/cluster/epoch', { at: 'noon' })).status, 400)
  })

  it('stand in the history as what they are', () => {
    const entries = { before: undefined, after: 9 }
    const change = {
      id: 'e'.repeat(64),
      at: '2026-11-20T18:00:00.000Z',
      author: EDGE_B,
      author_name: 'edge-b',
      via: null,
      kind: 'auth' as const,
      objects: [{ kind: 'cluster' as const, id: 'X', name: null, action: 'epoch' as const, fields: { entries } }],
      verified: true,
      valid: true,
      reason: null
    }
    const hollow = historyText([{ ...change, verified: false, pending: true }], { wide: false, colours: false })
    assert.match(hollow, /edge-b +eeeeeeeeeeee +to come +cluster X/)
    assert.match(historyText([change], { wide: false, colours: false }), /cluster X signed as it was: entries 9\n$/)
  })
})

describe('api and cli: a peer that has joined with a snapshot', function () {
  this.timeout(20_000)
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start()
  })
  afterEach(() => host.stop())

  it('says how far it has verified the history, and what was wrong with the snapshot', async () => {
    const { json: cluster } = await host.ask('GET', '/v1/cluster')
    const said = { epoch: 'e'.repeat(64), signed_by: EDGE_B, signed_by_name: 'edge-b' }
    const verifying = {
      ...cluster,
      history: { ...cluster.history, ...said, state: 'verifying', verified: 7, entries: 9 }
    }
    assert.match(
      clusterText(verifying, false),
      /^history: +7 of 9 entries verified behind the snapshot signed by edge-b$/m
    )
    const contradiction = { ...said, at: '2026-11-20T18:00:00.000Z', message: 'there is no such change' }
    const wrong = { ...cluster, history: { ...cluster.history, contradiction } }
    assert.match(clusterText(wrong, false), /^snapshot: +signed by edge-b, thrown away: there is no such change$/m)
    assert.doesNotMatch(clusterText(cluster, false), /^history:/m)
  })
})
