import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'
import { ArcticError } from '../../src/errors.ts'

describe('api: refusals', () => {
  let host: ApiHost
  before(async () => void (host = await ApiHost.start()))
  after(() => host.stop())

  const refusal = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const answer = await host.ask(method, path, body, headers == null ? {} : { headers })
    assert.match(String(answer.headers['content-type']), /^application\/json/)
    assert.deepEqual(Object.keys(answer.json), ['error'])
    assert.deepEqual(Object.keys(answer.json.error).sort(), ['code', 'details', 'message'])
    return [answer.status, answer.json.error.code, answer.json.error.message, answer.json.error.details] as const
  }

  it('of an unknown path is 404 not_found', async () => {
    for (const path of ['/', '/v1', '/v1/nothing', '/v2/services']) {
      const [status, code] = await refusal('GET', path)
      assert.deepEqual([status, code], [404, 'not_found'], path)
    }
  })

  it('of an id longer than any is 414', async () => {
    const [status, code] = await refusal('GET', `/v1/services/${'x'.repeat(600)}`)
    assert.deepEqual([status, code], [414, 'invalid_request'])
  })

  it('of a method that a path does not take is 405 and names those it takes', async () => {
    const [status, code, message, details] = await refusal('PATCH', '/v1/services/x', {})
    assert.deepEqual([status, code, details], [405, 'invalid_request', { allow: ['GET', 'HEAD', 'PUT', 'DELETE'] }])
    assert.match(message, /PATCH is not possible at \/v1\/services\/x; it takes GET, HEAD, PUT, DELETE/)
    assert.equal((await host.ask('DELETE', '/v1/services')).headers['allow'], 'POST, GET, HEAD')
    // The headers of an answer without end would be one too.
    const head = await host.ask('HEAD', '/v1/events')
    assert.deepEqual([head.status, head.headers['allow']], [405, 'GET'])
    assert.equal((await host.ask('HEAD', '/v1/actors/watch')).status, 404)
  })

  it('of a broken path, body or media type says what is broken', async () => {
    const cases: Array<[path: string, body: string, type: string | null, status: number, message: RegExp]> = [
      ['/v1/services/%zz/routes', '{}', null, 400, /path is not valid/],
      ['/v1/services', '{"target_peer_id":', null, 400, /not valid JSON/],
      ['/v1/services', '{"__proto__":{"x":1}}', null, 400, /not valid JSON/],
      ['/v1/services', '{"target_peer_id":"x"}', 'text/plain', 415, /Content-Type: application\/json/],
      ['/v1/services', 'target_peer_id=x', 'application/x-www-form-urlencoded', 415, /Content-Type: application\/json/],
      ['/v1/services', `"${'x'.repeat(8 * 1024 * 1024)}"`, null, 413, /exceeds 1048576 bytes/],
      ['/v1/services', '[]', null, 400, /the body must be a JSON object/],
      ['/v1/services', 'null', null, 400, /the body must be a JSON object/],
      ['/v1/services', '', null, 400, /"target_peer_id" is missing/]
    ]
    for (const [path, body, type, status, message] of cases) {
      const [got, code, told] = await refusal('POST', path, body, type == null ? undefined : { 'content-type': type })
      assert.deepEqual([got, code], [status, 'invalid_request'], body.slice(0, 40))
      assert.match(told, message)
    }
  })

  it('of a body that is not what it says: bytes that are no UTF-8, one field twice, something packed', async () => {
    const before = (await host.ask('GET', '/v1/services')).json.length
    const named = (name: Buffer): Buffer =>
      Buffer.concat([Buffer.from('{"target_peer_id":"x","name":"'), name, Buffer.from('"}')])
    const cases: Array<[body: Buffer | string, headers: Record<string, string>, status: number, message: RegExp]> = [
      [named(Buffer.from([0xff, 0xc3])), {}, 400, /^the body is not UTF-8; /],
      ['{"name":"a","target_peer_id":"x","name":"a"}', {}, 400, /^the field "name" is given twice; keep one of them$/],
      ['{"name":"a","target_peer_id":"x","n\\u0061me":"b"}', {}, 400, /^the field "name" is given twice/],
      ['{"target_peer_id":"x","x":[{"a":{"b":1},"b":2},{"b":{},"b":2}]}', {}, 400, /^the field "b" is given twice/],
      ['{}', { 'content-encoding': 'gzip' }, 415, /^the body has a Content-Encoding; send it as it is/]
    ]
    for (const [body, headers, status, message] of cases) {
      const [got, code, told] = await refusal('POST', '/v1/services', body, headers)
      assert.deepEqual([got, code], [status, 'invalid_request'], String(body))
      assert.match(told, message)
    }
    assert.equal((await host.ask('GET', '/v1/services')).json.length, before)
  })

  it('of a text of nothing but escapes is that of its field, and costs no stack', async () => {
    const [status, code, message] = await refusal('POST', '/v1/services', `{"nam":"${'\\"'.repeat(500_000)}"}`)
    assert.deepEqual([status, code], [400, 'invalid_request'], message)
    const [, , mesh] = await refusal('POST', '/v1/apply', `{"services":[],"x":"${'\\"'.repeat(4_000_000)}"}`)
    assert.match(mesh, /unknown field "x"/)
  })

  it('is not made where fields only look as if they were given twice', async () => {
    const body = '{"name":"{\\"name\\": \\"name\\":1, }{","target_peer_id":"x"}'
    const [, code, message] = await refusal('POST', '/v1/services', body)
    assert.equal(code, 'peer_not_found', message)
  })

  it('of a field names it, and the one that was probably meant', async () => {
    const cases: Array<[method: string, path: string, body: unknown, field: string, message: RegExp]> = [
      ['POST', '/v1/services', { target_peer: 'x' }, 'target_peer_id', /"target_peer_id" is missing/],
      [
        'POST',
        '/v1/services',
        { target_peer_id: 'edge-b', transport: 'tcp' },
        'transport',
        /unknown field "transport"; did you mean "transport_type"\?/
      ],
      ['POST', '/v1/services', { target_peer_id: 'edge-b', zzzzzz: 1 }, 'zzzzzz', /known are target_peer_id, /],
      ['POST', '/v1/services', { target_peer_id: 'edge-b', id: 'x' }, 'id', /"id" is read-only/],
      ['POST', '/v1/services', { target_peer_id: 7 }, 'target_peer_id', /must be a string/],
      ['POST', '/v1/services', { target_peer_id: '' }, 'target_peer_id', /must not be empty/],
      [
        'POST',
        '/v1/services',
        { target_peer_id: 'edge-b', requires_interface: 'true' },
        'requires_interface',
        /must be true or false/
      ],
      [
        'POST',
        '/v1/services',
        { target_peer_id: 'edge-b', transport_type: 'udp' },
        'transport_type',
        /must be one of tcp, kcp/
      ],
      [
        'POST',
        '/v1/services',
        { target_peer_id: 'edge-b', bandwidth_limit_mbps: -1 },
        'bandwidth_limit_mbps',
        /must be 0 or more/
      ],
      ['POST', '/v1/services/x/routes', { routes: [] }, 'routes', /must have 1 or more items/],
      ['POST', '/v1/services/x/routes', { dest_cidr: '10.2.0.0/24' }, 'routes', /"routes" is missing/],
      [
        'POST',
        '/v1/services/x/routes',
        { routes: [{ dest_cidr: '10.2.0.0/24' }, { priority: '5' }] },
        'routes[1].priority',
        /"routes\[1\]\.priority" must be a whole number/
      ],
      [
        'POST',
        '/v1/services/x/routes',
        { routes: [{ destination_cidr: '10.2.0.0/24' }] },
        'routes[0].destination_cidr',
        /known are source_cidr, dest_cidr, priority|did you mean/
      ],
      ['PUT', '/v1/services/x/routes/y', { dest_cidr: 5 }, 'dest_cidr', /must be a string or null/],
      ['GET', '/v1/services?target=x', undefined, 'target', /unknown field "target"; did you mean/],
      ['GET', '/v1/services?target_peer_id=a&target_peer_id=b', undefined, 'target_peer_id', /must be a string/],
      ['GET', '/v1/status?verbose=1', undefined, 'verbose', /no field is known here/],
      ['GET', '/v1/routes/test?source=10.0.0.1', undefined, 'dest', /"dest" is missing; add it to the query/],
      ['POST', '/v1/cluster/invites', { ttl_seconds: 1.5 }, 'ttl_seconds', /must be a whole number/],
      ['POST', '/v1/cluster/invites', { uses: 0 }, 'uses', /must be 1 or more/],
      ['POST', '/v1/cluster/invites', { role: 'root' }, 'role', /must be one of member, admin/],
      ['POST', '/v1/cluster/join', {}, 'token', /"token" is missing/],
      ['POST', '/v1/cluster/sync', { force: true }, 'force', /unknown field/]
    ]
    for (const [method, path, body, field, message] of cases) {
      const [status, code, told, details] = await refusal(method, path, body)
      assert.deepEqual(
        [status, code, details['field']],
        [400, 'invalid_request', field],
        `${path} ${JSON.stringify(body)}`
      )
      assert.match(told, message)
    }
    assert.equal(host.operator.services.size, 0)
  })

  it('by a bug is 500 internal, and its text stays in the log', async () => {
    const bug = new TypeError('secret detail')
    host.operator.actors = async () => {
      throw bug
    }
    const [status, code, message] = await refusal('GET', '/v1/actors')
    assert.deepEqual([status, code], [500, 'internal'])
    assert.doesNotMatch(message, /secret/)
    assert.deepEqual(
      host.errors.splice(0).map((fields) => (fields as { error: unknown }).error),
      [bug]
    )
  })

  it('by the operator keeps its code, message, details and status', async () => {
    host.operator.actors = async () => {
      throw new ArcticError('unavailable', 'the disk is full; make room', { free: 0 })
    }
    assert.deepEqual(await refusal('GET', '/v1/actors'), [
      503,
      'unavailable',
      'the disk is full; make room',
      { free: 0 }
    ])
    const ran = await host.cli(['actors', 'tree'])
    assert.deepEqual([ran.exit, ran.err], [3, 'error: unavailable: the disk is full; make room\n'])
  })
})
