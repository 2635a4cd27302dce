import assert from 'node:assert/strict'
import type { ChangeJson } from '../../src/actors/operator/history-json.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

describe('api and cli: undo', function () {
  this.timeout(20_000)
  let host: ApiHost
  let service: string
  let made: ChangeJson
  beforeEach(async () => {
    host = await ApiHost.start()
    service = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json.id
    made = host.operator.changes[0]!
  })
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('answers with what is undone, the change that did it and the services it concerns', async () => {
    const answer = await host.ask('POST', '/v1/cluster/undo', { change: made.id })
    assert.equal(answer.status, 200)
    assert.partialDeepStrictEqual(answer.json, { undone: made.id, services: [{ id: service, target_peer_id: EDGE_B }] })
    const told = await host.cli(['cluster', 'undo', made.id.slice(0, 12)])
    assert.deepEqual([told.exit, told.err], [0, ''])
    assert.match(told.out, /^change 0{12} is undone by\nTIME +AUTHOR/)
  })

  it('waits for both ends when asked to', async () => {
    host.operator.late.add(EDGE_B)
    const told = await host.cli(['cluster', 'undo', made.id, '--wait', '1s', '-j'])
    assert.deepEqual([told.exit, told.json.undone, told.json.wait.done], [1, made.id, false])
  })

  it('is a conflict when something has changed since, with what and by whom', async () => {
    host.operator.changes[0] = { ...made, valid: false }
    const answer = await host.ask('POST', '/v1/cluster/undo', { change: made.id })
    assert.equal(answer.status, 409)
    assert.deepEqual(answer.json.error.details, { change: made.id, later_change: 'ff' })
    assert.equal((await host.cli(['cluster', 'undo', made.id])).exit, 5)
  })

  it('refuses what is no change, and a body that is none', async () => {
    assert.equal((await host.cli(['cluster', 'undo', 'ffffffffffff'])).exit, 4)
    for (const body of [{}, { change: 7 }, { change: '' }, { change: made.id, force: true }]) {
      assert.equal((await host.ask('POST', '/v1/cluster/undo', body)).status, 400, JSON.stringify(body))
    }
    assert.equal((await host.cli(['cluster', 'undo'])).exit, 2)
  })

  it('completes changes', async () => {
    const { out } = await host.cli(['__complete', '--', 'cluster', 'undo', ''])
    assert.match(out, /^0{12}\t.* edge-a service created$/m)
  })
})
