import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { once } from 'node:events'
import { SCOPES, type Scope } from '../../src/crdt/scopes.ts'
import { ApiHost, type Answer } from './api-host.ts'

describe('api: tokens', () => {
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start({ apiListen: '127.0.0.1:0' })
  })
  afterEach(() => host.stop())

  const make = async (...scopes: Scope[]): Promise<{ id: string; token: string }> =>
    (await host.ask('POST', '/v1/tokens', { scopes })).json

  const as = (token: string, method: string, path: string, body?: unknown): Promise<Answer> =>
    host.ask(method, path, body, { tcp: true, headers: { authorization: `Bearer ${token}` } })

  const refused = (answer: Answer): [number, string] => [answer.status, answer.json.error.code]

  it('are made with a secret that is shown once, listed without it, and revoked', async () => {
    const made = await host.ask('POST', '/v1/tokens', { scopes: ['services.read', 'services.read'], name: 'ci' })
    assert.equal(made.status, 201)
    const { token, ...shown } = made.json
    assert.match(token, /^arctic_[0-9A-Z]{26}_[\w-]{43}$/)
    assert.deepEqual(shown.scopes, ['services.read'])
    const days = (Date.parse(shown.expires_at) - Date.parse(shown.created_at)) / 86_400_000
    assert.equal(Math.round(days), 90)
    const listed = await host.ask('GET', '/v1/tokens')
    assert.deepEqual(listed.json, [shown])
    assert.ok(!listed.text.includes(token.slice(-43)))

    assert.equal((await as(token, 'GET', '/v1/services')).status, 200)
    assert.equal((await host.ask('DELETE', `/v1/tokens/${shown.id}`)).status, 204)
    assert.deepEqual(refused(await as(token, 'GET', '/v1/services')), [401, 'unauthorized'])
    assert.deepEqual(refused(await host.ask('DELETE', `/v1/tokens/${shown.id}`)), [404, 'token_not_found'])
  })

  it('that are bad in any way are refused alike', async () => {
    const { token } = await make('admin')
    const other = token.slice(0, -43) + 'A'.repeat(43)
    for (const text of [other, `${token}x`, token.slice(0, -1), token.toUpperCase(), 'x', '', `${token} ${token}`]) {
      const answer = await as(text, 'GET', '/v1/services')
      assert.deepEqual(refused(answer), [401, 'unauthorized'], text)
      assert.equal(answer.headers['www-authenticate'], 'Bearer')
    }
    const basic = await host.ask('GET', '/v1/services', undefined, {
      tcp: true,
      headers: { authorization: `Basic ${Buffer.from(token).toString('base64')}` }
    })
    assert.deepEqual(refused(basic), [401, 'unauthorized'])
    assert.equal((await as(token, 'GET', '/v1/services')).status, 200)
  })

  it('that have expired say when', async () => {
    const { id, token } = await make('admin')
    const held = host.operator.tokens.get(id)!
    host.operator.tokens.set(id, { ...held, expires_at: '2026-01-01T00:00:00.000Z' })
    const answer = await as(token, 'GET', '/v1/services')
    assert.deepEqual(refused(answer), [401, 'unauthorized'])
    assert.match(answer.json.error.message, /expired at 2026-01-01/)
    assert.equal((await host.ask('GET', '/v1/tokens')).json[0].expired, true)
  })

  it('open what their scopes name and nothing else; the refusal names the scope', async () => {
    const cases: Array<[method: string, path: string, scope: Scope]> = [
      ['GET', '/v1/cluster', 'cluster.read'],
      ['GET', '/v1/cluster/history', 'cluster.read'],
      ['GET', '/v1/status', 'cluster.read'],
      ['POST', '/v1/cluster/init', 'cluster.write'],
      ['POST', '/v1/cluster/invites', 'cluster.write'],
      ['GET', '/v1/peers', 'peers.read'],
      ['GET', '/v1/services', 'services.read'],
      ['POST', '/v1/services', 'services.write'],
      ['DELETE', '/v1/services/x', 'services.write'],
      ['GET', '/v1/routes/test?source=10.0.0.1&dest=10.0.0.2', 'routes.read'],
      ['GET', '/v1/tokens', 'tokens.read'],
      ['POST', '/v1/tokens', 'tokens.write'],
      ['GET', '/v1/license', 'license.read'],
      ['GET', '/v1/actors', 'actors.read'],
      ['POST', '/v1/actors/x/events', 'actors.write']
    ]
    for (const [method, path, scope] of cases) {
      const body = path.endsWith('/invites') ? { role: 'member' } : method === 'POST' ? {} : undefined
      const { token: good } = await make(scope)
      const others = SCOPES.filter(
        (one) => one !== scope && one !== 'admin' && one !== scope.replace('.read', '.write')
      )
      const { token: bad } = await make(...others)
      const answer = await as(bad, method, path, body)
      assert.deepEqual(refused(answer), [403, 'forbidden'], path)
      assert.match(answer.json.error.message, new RegExp(scope.replace('.', '\\.')))
      const open = await as(good, method, path, body)
      assert.ok(open.status !== 401 && open.status !== 403, `${path}: ${open.text}`)
      assert.notEqual((await as((await make('admin')).token, method, path, body)).status, 403)
    }
  })

  it('are asked for at every path that the API has, but for the probes and, on this host, the scraper', async () => {
    const { paths } = (await host.ask('GET', '/v1/openapi.json')).json
    const open = []
    for (const [path, operations] of Object.entries<Record<string, { security?: unknown[] }>>(paths)) {
      for (const [method, { security }] of Object.entries(operations)) {
        assert.ok(Array.isArray(security), `${method} ${path} says what it needs`)
        const url = path.replaceAll(/\{\w+\}/g, 'x')
        const answer = await host.ask(method.toUpperCase(), url, method === 'get' ? undefined : {}, { tcp: true })
        if (answer.status !== 401) open.push(`${method} ${path}`)
      }
    }
    assert.deepEqual(open.sort(), ['get /healthz', 'get /metrics', 'get /readyz'])
  })

  it('give no more than they have, for no longer, and invite nobody as more than they are', async () => {
    const { token } = await make('tokens.write', 'services.read', 'cluster.write')
    const ask = (body: object): Promise<Answer> => as(token, 'POST', '/v1/tokens', body)
    assert.equal((await ask({ scopes: ['services.read', 'tokens.read', 'cluster.read'] })).status, 201)
    for (const scope of ['admin', 'services.write', 'peers.read']) {
      const answer = await ask({ scopes: ['services.read', scope] })
      assert.deepEqual(refused(answer), [403, 'forbidden'], scope)
      assert.match(answer.json.error.message, new RegExp(scope.replace('.', '\\.')))
    }
    const longer = await ask({ scopes: ['services.read'], ttl_seconds: 91 * 86_400 })
    assert.deepEqual(refused(longer), [403, 'forbidden'])
    const short = (await host.ask('POST', '/v1/tokens', { scopes: ['tokens.write'], ttl_seconds: 60 })).json
    const child = (await as(short.token, 'POST', '/v1/tokens', { scopes: ['tokens.read'] })).json
    assert.ok(Date.parse(child.expires_at) <= Date.parse(short.expires_at))

    assert.equal((await as(token, 'POST', '/v1/cluster/invites', { role: 'member' })).status, 201)
    assert.deepEqual(refused(await as(token, 'POST', '/v1/cluster/invites', { role: 'admin' })), [403, 'forbidden'])
    // Left out, the role is an admin's.
    assert.deepEqual(refused(await as(token, 'POST', '/v1/cluster/invites', {})), [403, 'forbidden'])
  })

  it('are refused with unknown scopes, none, fields that are not, and a life that is none', async () => {
    for (const [body, message] of [
      [{ scopes: ['services.all'] }, /no scope "services.all"; known are cluster.read/],
      [{ scopes: [] }, /"scopes" must have 1 or more items/],
      [{}, /"scopes" is missing/],
      [{ scopes: ['admin'], scope: 'admin' }, /unknown field "scope"; did you mean "scopes"\?/],
      [{ scopes: ['admin'], ttl_seconds: 0 }, /must be 1 or more/]
    ] as const) {
      const answer = await host.ask('POST', '/v1/tokens', body)
      assert.deepEqual(refused(answer), [400, 'invalid_request'])
      assert.match(answer.json.error.message, message)
    }
  })

  it('make nobody an admin but as admin', async () => {
    const { token } = await make(...SCOPES.filter((scope) => scope !== 'admin'))
    for (const role of ['admin', 'member']) {
      const answer = await as(token, 'PUT', '/v1/peers/edge-b', { role })
      assert.deepEqual(refused(answer), [403, 'forbidden'], role)
    }
    assert.equal((await as(token, 'PUT', '/v1/peers/edge-b', { name: 'edge-c2' })).status, 200)
    assert.equal((await as((await make('admin')).token, 'PUT', '/v1/peers/edge-c2', { role: 'member' })).status, 200)
  })

  it('set the policy of the cluster as admin only', async () => {
    const { token } = await make(...SCOPES.filter((scope) => scope !== 'admin'))
    const policy = { policy: { max_services: 1 } }
    assert.deepEqual(refused(await as(token, 'PUT', '/v1/cluster', policy)), [403, 'forbidden'])
    const set = await as((await make('admin')).token, 'PUT', '/v1/cluster', policy)
    assert.deepEqual([set.status, set.json.policy], [200, { max_services: 1 }])
  })

  it('takes back only what its token may change by hand', async () => {
    await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })
    const change = host.operator.changes[0]!
    const undo = async (scopes: Scope[], kind: 'policy' | 'peer' | 'service'): Promise<number> => {
      host.operator.changes[0] = { ...change, objects: [{ ...change.objects[0]!, kind }] }
      const { token } = await make('services.write', 'routes.write', ...scopes)
      return (await as(token, 'POST', '/v1/cluster/undo', { change: change.id })).status
    }
    assert.deepEqual(
      [
        await undo([], 'service'),
        await undo([], 'policy'),
        await undo(['cluster.write'], 'policy'),
        await undo(['admin'], 'policy')
      ],
      [200, 403, 403, 200]
    )
    assert.deepEqual([await undo(['cluster.write'], 'peer'), await undo(['peers.write'], 'peer')], [403, 200])
  })

  it('work nowhere while there is no cluster', async () => {
    const { token } = await make('admin')
    host.operator.cluster = null
    const answer = await as(token, 'POST', '/v1/cluster/init', {})
    assert.deepEqual(refused(answer), [401, 'unauthorized'])
    assert.match(answer.json.error.message, /no cluster yet.*unix socket/)
    assert.equal(host.operator.cluster, null)
  })

  it('stand beside the changes that were made with them', async () => {
    const made = (await host.ask('POST', '/v1/tokens', { scopes: ['services.write', 'cluster.read'], name: 'ci' })).json
    await as(made.token, 'POST', '/v1/services', { target_peer_id: 'edge-b', name: 'by-token' })
    await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'by-hand' })
    const vias = (await as(made.token, 'GET', '/v1/cluster/history')).json.map(({ via }: { via: string }) => via)
    assert.deepEqual(vias, [null, `token ${made.id} ci`])
    assert.match((await host.cli(['cluster', 'history'])).out, /edge-a for token ci /)
  })

  it('show the events of what they may read, until they are revoked', async () => {
    const { id, token } = await make('services.read')
    const [name, port] = host.http.tcpAddress!.split(':')
    const stream = connect(Number(port), name)
    stream.write(`GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`)
    let got = ''
    stream.setEncoding('utf8').on('data', (part: string) => (got += part))
    await once(stream, 'data')
    host.operator.emit('peer.updated', { secret: 'peer' })
    host.operator.emit('service.updated', { id: 'first' })
    while (!got.includes('first')) await once(stream, 'data')
    assert.doesNotMatch(got, /peer/)
    await host.ask('DELETE', `/v1/tokens/${id}`)
    const closed = once(stream, 'close')
    host.operator.emit('service.updated', { id: 'second' })
    await closed
    assert.doesNotMatch(got, /second/)
  })

  it('are made, listed and revoked by the CLI, which prints the secret and nothing else', async () => {
    const made = await host.cli([
      'tokens',
      'create',
      '--scope=services.read',
      '--scope',
      'peers.read',
      '--ttl',
      '1d',
      '--name',
      'ci'
    ])
    assert.equal(made.exit, 0, made.err)
    assert.match(made.out, /^arctic_[0-9A-Z]{26}_[\w-]{43}\n$/)
    assert.match(made.err, /^token 01\w{24} \(ci\): peers.read, services.read, until .*; shown once\n$/)
    const api = ['--api', `http://${host.http.tcpAddress}`]
    const env = { ARCTIC_SOCKET: '', ARCTIC_TOKEN: made.out.trim() }
    assert.equal((await host.cli([...api, 'services', 'list', '-j'], { env })).exit, 0)
    // Tables show names of peers and services where the token may know them, else ids.
    await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })
    const narrow = (await make('services.read', 'routes.read')).token
    for (const words of [
      ['services', 'list'],
      ['routes', 'list', '-o', 'wide']
    ]) {
      const listed = await host.cli([...api, '--token', narrow, ...words], { env: { ARCTIC_SOCKET: '' } })
      assert.equal(listed.exit, 0, listed.err)
    }
    const forbidden = await host.cli([...api, 'tokens', 'list'], { env })
    assert.equal(forbidden.exit, 6)
    assert.match(forbidden.err, /^error: forbidden: the token "ci" has no scope tokens.read/)

    const [row] = (await host.cli(['token', 'list', '-j'])).json
    assert.deepEqual([row.name, row.scopes], ['ci', ['peers.read', 'services.read']])
    assert.match(
      (await host.cli(['tokens', 'list'])).out,
      /^ID +NAME +SCOPES +AGE +ENDS IN\n01\w+ +ci +peers.read,services.read /
    )
    const revoked = await host.cli(['tokens', 'revoke', `token/${row.id}`, '--yes', '-j'])
    assert.deepEqual(revoked.json, { id: row.id, revoked: true })
    const again = await host.cli(['tokens', 'revoke', row.id, '--yes'])
    assert.equal(again.exit, 4)
    assert.match(again.err, /^error: token_not_found: /)
    assert.equal((await host.cli([...api, 'services', 'list'], { env })).exit, 6)
    assert.equal((await host.cli(['tokens', 'create'])).exit, 2)
    assert.equal((await host.cli(['tokens', 'create', '--scope', 'admin,'])).exit, 2)
  })
})
