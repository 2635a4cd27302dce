import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import * as fc from 'fast-check'
import { durationSeconds } from '../../src/api/duration.ts'
import { parse } from '../../src/api/cli/parse.ts'
import { didYouMean } from '../../src/api/did-you-mean.ts'
import { ERROR_CODES } from '../../src/errors.ts'
import { ApiHost } from './api-host.ts'

const fields = [
  'target_peer_id',
  'source_peer_id',
  'name',
  'transport_type',
  'requires_interface',
  'desired_ipv4_cidr',
  'bandwidth_limit_mbps',
  'fully_transparent',
  'routes',
  'dest_cidr',
  'source_cidr',
  'priority',
  'token',
  'ttl_seconds',
  'uses',
  'role',
  'constructor',
  'toString'
]
const values = fc.oneof(
  fc.constantFrom<unknown>('edge-b', 'edge-a', '10.2.0.0/24', '10.2.0.1/24', 'tcp', 'kcp', true, null, 1e308, -1, ''),
  fc.jsonValue({ maxDepth: 3 }),
  fc.array(fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 1 })), { maxLength: 3 })
)
/** What has made readers of JSON stumble elsewhere. What a run finds is added. */
const CORPUS = [
  '',
  '{',
  'null',
  '[]',
  '"x"',
  '\uFEFF{}',
  '1e999',
  '{"__proto__":{"name":"x"},"target_peer_id":"edge-b"}',
  '{"constructor":{"prototype":{"name":"x"}}}',
  '{"name":"\\ud800","target_peer_id":"edge-b"}',
  '{"name":"\\u0000","target_peer_id":"edge-b"}',
  '{"name":"a","name":"b","target_peer_id":"edge-b"}',
  '{"target_peer_id":["edge-b"]}',
  '{"bandwidth_limit_mbps":1e400,"target_peer_id":"edge-b"}',
  '{"bandwidth_limit_mbps":-0,"target_peer_id":"edge-b"}',
  '{"bandwidth_limit_mbps":0.1,"target_peer_id":"edge-b"}',
  '{"routes":{"length":5}}',
  '{"routes":[null]}',
  '{"routes":[{"dest_cidr":"10.2.0.0/24","priority":9007199254740993}]}',
  '{"routes":[{"dest_cidr":"::ffff:10.2.0.0/120"}]}',
  '{"routes":[{"dest_cidr":"010.2.0.0/24"}]}',
  `{"routes":[${'{},'.repeat(2000)}{}]}`,
  '['.repeat(20_000),
  `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`
]
const bodies = fc.oneof(
  fc.constantFrom(...CORPUS),
  fc.dictionary(fc.constantFrom(...fields), values, { maxKeys: 6 }).map((body) => JSON.stringify(body)),
  fc.jsonValue().map((body) => JSON.stringify(body)),
  fc.string({ maxLength: 200 })
)
const segments = fc.oneof(
  fc.constantFrom(
    'v1',
    'services',
    'routes',
    'test',
    'peers',
    'cluster',
    'init',
    'invites',
    'sync',
    'status',
    'SERVICE'
  ),
  fc.string({ maxLength: 20 }).map(encodeURIComponent),
  fc.stringMatching(/^[%a-z0-9.;:@~-]{0,20}$/)
)
const requests = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'),
  path: fc.oneof(
    fc.constantFrom(
      '/v1/services',
      '/v1/services/SERVICE',
      '/v1/services/SERVICE/routes',
      '/v1/services/SERVICE/routes/x',
      '/v1/cluster/init',
      '/v1/cluster/invites',
      '/v1/cluster/join',
      '/v1/cluster/sync'
    ),
    fc.array(segments, { maxLength: 5 }).map((parts) => `/${parts.join('/')}`)
  ),
  query: fc.option(fc.webQueryParameters(), { nil: '' }),
  body: fc.option(bodies, { nil: undefined })
})

describe('api: random input', function () {
  this.timeout(20_000)
  let host: ApiHost
  let service: string
  before(async () => {
    host = await ApiHost.start()
    service = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json.id
  })
  after(() => host.stop())

  it('is answered, never by 500, and every refusal is of the contract', async () => {
    await fc.assert(
      fc.asyncProperty(requests, async ({ method, path, query, body }) => {
        const url = path.replaceAll('SERVICE', service) + (query === '' ? '' : `?${query}`)
        const answer = await host.ask(method, url, method === 'GET' || method === 'HEAD' ? undefined : body)
        assert.notEqual(answer.status, 500, `${method} ${url} ${body}: ${answer.text}`)
        if (answer.status >= 400 && method !== 'HEAD') {
          const { code, message, details } = answer.json.error
          assert.ok(Object.hasOwn(ERROR_CODES, code) && code !== 'internal', answer.text)
          assert.ok(typeof message === 'string' && message !== '' && typeof details === 'object')
        }
        // A random DELETE may have hit the service itself; the next ones need one again.
        if (!host.operator.services.has(service)) {
          host.operator.services.clear()
          service = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json.id
        }
      }),
      { numRuns: 400 }
    )
    assert.deepEqual(host.errors, [])
  })

  it('of the corpus is answered wherever it is sent, never by 500', async () => {
    const paths = [
      'services',
      `services/${service}`,
      `services/${service}/routes`,
      'cluster/join',
      'cluster/invites',
      'tokens'
    ]
    for (const path of paths) {
      for (const body of CORPUS) {
        for (const method of ['POST', 'PUT']) {
          const { status, text } = await host.ask(method, `/v1/${path}`, body)
          assert.ok(status < 500, `${method} ${path} ${body.slice(0, 80)}: ${status} ${text}`)
        }
      }
    }
    assert.deepEqual(host.errors, [])
  })

  it('that is not even HTTP leaves the server answering', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }), async (chunks) => {
        const socket = connect(host.socket)
        socket.on('error', () => {})
        socket.resume()
        for (const chunk of chunks) socket.write(chunk)
        socket.end()
        await once(socket, 'close')
      }),
      { numRuns: 60 }
    )
    assert.equal((await host.ask('GET', '/healthz')).status, 200)
  })

  it('on the command line is understood or refused, never a crash', () => {
    const words = fc.oneof(
      fc.constantFrom(
        'services',
        'service',
        'create',
        'list',
        'routes',
        'delete',
        '--name',
        '--target-peer',
        '--priority',
        '--no-name',
        '--requires-interface=false',
        '-j',
        '-o',
        'json',
        '--',
        '-',
        '--help',
        'help',
        '__proto__',
        'constructor',
        '--constructor',
        '--__proto__=x',
        '-yj'
      ),
      fc.string({ maxLength: 12 })
    )
    fc.assert(
      fc.property(fc.array(words, { maxLength: 8 }), (argv) => {
        const { ask } = parse(argv)
        assert.ok(['run', 'help', 'version', 'wrong'].includes(ask.kind))
        if (ask.kind === 'wrong') assert.equal(ask.failure.exitCode, 2)
      }),
      { numRuns: 2000 }
    )
  })

  it('of durations means what its parts mean', () => {
    const units = { s: 1, m: 60, h: 3600, d: 86_400 } as const
    const part = fc.tuple(fc.integer({ min: 1, max: 9999 }), fc.constantFrom('s', 'm', 'h', 'd'))
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const expected = parts.reduce((sum, [amount, unit]) => sum + amount * units[unit], 0)
        assert.equal(durationSeconds(parts.map(([amount, unit]) => `${amount}${unit}`).join('')), expected)
      })
    )
    for (const bad of ['', '1', 'h', '1w', '-1h', '1.5h', '0s', '1 h', '1h ', '1e3s']) {
      assert.equal(durationSeconds(bad), null, bad)
    }
  })

  it('near a known word is led to it by one edit', () => {
    const known = ['services', 'routes', 'cluster', 'actors', 'status']
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.nat(), fc.constantFrom('x', ''), (word, at, letter) => {
        const cut = at % word.length
        assert.equal(didYouMean(word.slice(0, cut) + letter + word.slice(cut + 1), known), word)
      })
    )
    assert.equal(didYouMean('kubernetes', known), null)
  })
})
