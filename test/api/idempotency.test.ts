import assert from 'node:assert/strict'
import { Idempotency } from '../../src/api/http/idempotency.ts'
import { idempotencyAnswersMax, idempotencyBytesMax, idempotencyTtlMs } from '../../src/api/http/limits.ts'
import { systemClock } from '../../src/clock.ts'
import fastify from 'fastify'
import type { App } from '../../src/api/http/type-provider.ts'
import { ApiHost } from './api-host.ts'

describe('api: Idempotency-Key', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })
  const post = (path: string, body: object, key: string) =>
    host.ask('POST', path, body, { headers: { 'idempotency-key': key } })

  it('makes a thing once however often it is asked for, one after the other and all at once', async () => {
    const body = { target_peer_id: 'edge-b' }
    const first = await post('/v1/services', body, 'a')
    assert.deepEqual([first.status, first.headers['idempotent-replayed']], [201, undefined])
    const again = await post('/v1/services', body, 'a')
    assert.deepEqual([again.status, again.text, again.headers['idempotent-replayed']], [201, first.text, 'true'])
    assert.equal(again.headers['content-type'], first.headers['content-type'])
    const many = await Promise.all(Array.from({ length: 20 }, () => post('/v1/services', body, 'b')))
    assert.equal(new Set(many.map(({ text }) => text)).size, 1)
    assert.equal(host.operator.services.size, 2)
    const routes = { routes: [{ dest_cidr: '10.2.0.0/24' }] }
    for (let n = 0; n < 2; n++) await post(`/v1/services/${first.json.id}/routes`, routes, 'c')
    assert.equal(host.operator.routes.size, 1)
  })

  it('belongs to one path, one query and one body', async () => {
    const one = await post('/v1/services', { target_peer_id: 'edge-b' }, 'a')
    const other = await post('/v1/services', { target_peer_id: 'edge-b', name: 'x' }, 'a')
    assert.deepEqual([other.status, other.json.error.code], [409, 'invalid_request'])
    const waiting = await post('/v1/services?wait=1s', { target_peer_id: 'edge-b' }, 'a')
    assert.deepEqual([waiting.status, host.operator.services.size], [409, 1])
    const invite = await post('/v1/cluster/invites', {}, 'a')
    assert.equal(invite.status, 201)
    assert.notEqual(invite.text, one.text)
  })

  it('does not keep a failure', async () => {
    host.operator.cluster = null
    assert.equal((await post('/v1/services', { target_peer_id: 'edge-b' }, 'a')).status, 409)
    host.operator.cluster = { id: 'x', name: 'test' }
    assert.equal((await post('/v1/services', { target_peer_id: 'edge-b' }, 'a')).status, 201)
    assert.equal((await post('/v1/services', { target_peer_id: 7 }, 'a')).status, 400)
  })

  it('of no use is refused', async () => {
    for (const key of ['', 'x'.repeat(256)]) {
      assert.equal((await post('/v1/services', { target_peer_id: 'edge-b' }, key)).status, 400)
    }
  })

  it('is forgotten by age, number and size', async () => {
    let now = 0
    let made = 0
    const app: App = fastify()
    new Idempotency({ ...systemClock, monotonic: () => now }).install(app)
    app.post('/', async (request) => `${made++} ${'x'.repeat((request.body as { size: number }).size)}`)
    const makes = async (key: string, size = 0): Promise<boolean> => {
      const before = made
      await app.inject({ method: 'POST', url: '/', headers: { 'idempotency-key': key }, payload: { size } })
      return made > before
    }
    assert.deepEqual([await makes('a'), await makes('a')], [true, false])
    now += idempotencyTtlMs
    assert.ok(await makes('a'), 'old')
    for (let n = 0; n < idempotencyAnswersMax; n++) await makes(`n${n}`)
    assert.ok(await makes('a'), 'one of too many')
    assert.equal(await makes('a'), false)
    const large = idempotencyBytesMax / 2
    for (const key of ['l1', 'l2', 'l3']) await makes(key, large)
    assert.ok(await makes('a'), 'pushed out by larger ones')
    assert.equal(await makes('l3', large), false)
    await app.close()
  }).timeout(10_000)
})
