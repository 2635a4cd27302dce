import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'

describe('api: ETag and If-Match', () => {
  let host: ApiHost
  let id: string
  let etag: string
  beforeEach(async () => {
    host = await ApiHost.start()
    const made = await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'web' })
    id = made.json.id
    etag = String(made.headers['etag'])
  })
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })
  const put = (body: object, ifMatch: string) =>
    host.ask('PUT', `/v1/services/${id}`, body, { headers: { 'if-match': ifMatch } })

  it('of a service stays while it is only read, and changes with it', async () => {
    assert.match(etag, /^"[\da-f]{32}"$/)
    assert.equal((await host.ask('GET', `/v1/services/${id}`)).headers['etag'], etag)
    const put = await host.ask('PUT', `/v1/services/${id}`, { bandwidth_limit_mbps: 5 })
    assert.notEqual(put.headers['etag'], etag)
    assert.equal((await host.ask('GET', `/v1/services/${id}`)).headers['etag'], put.headers['etag'])
  })

  it('let a change through that knows the service as it is, and refuse one that does not', async () => {
    for (const around of ['ETAG', '"other", ETAG', '*', 'W/"x",ETAG']) {
      const good = around.replace('ETAG', etag)
      const answer = await put({ name: 'web' }, good)
      assert.equal(answer.status, 200, `${good}: ${answer.text}`)
      etag = String(answer.headers['etag'])
    }
    await host.ask('PUT', `/v1/services/${id}`, { name: 'mail' })
    for (const stale of [etag, '"other"', `W/${etag}`]) {
      const answer = await put({ name: 'lost update' }, stale)
      assert.equal(answer.status, 412, answer.text)
      assert.equal(answer.json.error.code, 'invalid_request')
      assert.match(answer.json.error.message, /"mail" has changed since it was read .*; read it again/)
    }
    const late = await host.ask('DELETE', `/v1/services/${id}`, undefined, { headers: { 'if-match': etag } })
    assert.equal(late.status, 412)
    assert.equal(host.operator.services.get(id)?.name, 'mail')
    const fresh = String((await host.ask('GET', `/v1/services/${id}`)).headers['etag'])
    const gone = await host.ask('DELETE', `/v1/services/${id}`, undefined, { headers: { 'if-match': fresh } })
    assert.equal(gone.status, 204)
    assert.equal((await put({ name: 'x' }, fresh)).status, 404)
  })

  it('that are no ETag are told so', async () => {
    for (const bad of ['web', '"a" "b"', '"a', 'W/', ',']) {
      assert.deepEqual(
        [(await put({ name: 'x' }, bad)).status, host.operator.services.get(id)?.name],
        [400, 'web'],
        bad
      )
    }
  })

  it('are refused where nobody looks at them: the change would be made whether or not they hold', async () => {
    const made = await host.ask('POST', `/v1/services/${id}/routes`, { routes: [{ dest_cidr: '10.2.0.0/24' }] })
    const route = `/v1/services/${id}/routes/${made.json[0].id}`
    for (const [method, path, body, header] of [
      ['PUT', route, { priority: 5 }, 'if-match'],
      ['DELETE', route, undefined, 'if-match'],
      ['PUT', `/v1/services/${id}`, { name: 'x' }, 'if-none-match'],
      ['PUT', `/v1/services/${id}`, { name: 'x' }, 'if-unmodified-since']
    ] as const) {
      const answer = await host.ask(method, path, body, { headers: { [header]: '"old"' } })
      assert.deepEqual([answer.status, answer.json.error.details], [400, { field: header, in: 'headers' }])
    }
    assert.equal(host.operator.services.get(id)?.name, 'web')
    assert.equal(host.operator.routes.get(made.json[0].id)?.priority, 100)
    assert.equal(
      (await host.ask('GET', `/v1/services/${id}`, undefined, { headers: { 'if-match': '"old"' } })).status,
      200
    )
  })

  it('work from the command line, with exit 5 for what has changed', async () => {
    const shown = await host.cli(['services', 'get', id])
    assert.match(shown.out, new RegExp(`^etag: +${etag}$`, 'm'))
    const bare = etag.slice(1, -1)
    await host.cli(['services', 'update', id, '--if-match', bare, '--name', 'mail'])
    assert.equal(host.operator.services.get(id)?.name, 'mail')
    for (const args of [
      ['update', id, '--name', 'lost'],
      ['delete', id, '--yes']
    ]) {
      const stale = await host.cli(['services', ...args, '--if-match', bare])
      assert.deepEqual([stale.exit, stale.err.startsWith('error: invalid_request: service "mail" has')], [5, true])
    }
    assert.equal(host.operator.services.get(id)?.name, 'mail')
    assert.equal((await host.cli(['services', 'delete', id, '--yes', '--if-match', '*'])).exit, 0)
  })
})
