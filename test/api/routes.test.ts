import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

describe('api: routes', () => {
  let host: ApiHost
  let service: string
  beforeEach(async () => {
    host = await ApiHost.start()
    service = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json.id
  })
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('are added all or none, and answered as an array with 201', async () => {
    const path = `/v1/services/${service}/routes`
    const bad = await host.ask('POST', path, { routes: [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.2.0.1/24' }] })
    assert.deepEqual([bad.status, bad.json.error.code], [400, 'invalid_cidr'])
    assert.match(bad.json.error.message, /10\.2\.0\.0\/24/)
    assert.deepEqual((await host.ask('GET', path)).json, [])

    const good = await host.ask('POST', path, { routes: [{ dest_cidr: '10.2.0.0/24' }, { source_cidr: 'fd00::/64' }] })
    assert.equal(good.status, 201)
    assert.deepEqual(
      good.json.map(({ dest_cidr, source_cidr, priority }: Record<string, unknown>) => [
        source_cidr,
        dest_cidr,
        priority
      ]),
      [
        [null, '10.2.0.0/24', 100],
        ['fd00::/64', null, 100]
      ]
    )
    assert.equal((await host.ask('GET', '/v1/routes')).json.length, 2)
    assert.equal((await host.ask('GET', `/v1/routes?service_id=${service}`)).json.length, 2)
  })

  it('are changed and deleted one by one', async () => {
    const path = `/v1/services/${service}/routes`
    const [{ id }] = (
      await host.ask('POST', path, { routes: [{ dest_cidr: '10.2.0.0/24', source_cidr: '10.1.0.0/24' }] })
    ).json
    const changed = await host.ask('PUT', `${path}/${id}`, { priority: 7, source_cidr: null })
    assert.deepEqual(
      [changed.status, changed.json.priority, changed.json.source_cidr, changed.json.dest_cidr],
      [200, 7, null, '10.2.0.0/24']
    )
    assert.equal(
      (await host.ask('PUT', `${path}/01ARZ3NDEKTSV4RRFFQ69G5FAV`, { priority: 1 })).json.error.code,
      'route_not_found'
    )
    assert.equal((await host.ask('DELETE', `${path}/${id}`)).status, 204)
    assert.equal((await host.ask('DELETE', `${path}/${id}`)).status, 404)
  })

  it('are added, listed, changed and deleted from the command line', async () => {
    const added = await host.cli(['routes', 'add', '--service', service, '--dest-cidr', '10.2.0.0/24', '-j'])
    assert.equal(added.exit, 0, added.err)
    assert.equal(added.json.dest_cidr, '10.2.0.0/24')
    const { id } = added.json

    const listed = await host.cli(['route', 'list'])
    assert.match(listed.out, new RegExp(`^${id}  ${service}  any     10\\.2\\.0\\.0/24  100       pending$`, 'm'))
    assert.equal((await host.cli(['routes', 'list', '--service', service, '-j'])).json.length, 1)

    const which = ['--service', service, '--route', id]
    const changed = await host.cli([
      'routes',
      'update',
      ...which,
      '--priority',
      '0',
      '--source-cidr',
      '10.1.0.0/24',
      '-j'
    ])
    assert.deepEqual([changed.json.priority, changed.json.source_cidr], [0, '10.1.0.0/24'])
    const cleared = await host.cli(['routes', 'update', ...which, '--no-source-cidr', '-j'])
    assert.equal(cleared.json.source_cidr, null)

    assert.equal((await host.cli(['routes', 'delete', ...which])).exit, 2)
    assert.equal((await host.cli(['routes', 'delete', ...which, '-y'])).exit, 0)
    assert.equal(host.operator.routes.size, 0)
  })

  it('with bad CIDRs are refused with exit 2 and the CIDR that was meant', async () => {
    const add = (...args: string[]) => host.cli(['routes', 'add', '--service', service, ...args])
    for (const [cidr, hint] of [
      ['10.2.0.1/24', /did you mean 10\.2\.0\.0\/24\?/],
      ['10.2.0.0', /did you mean 10\.2\.0\.0\/\d+\?/],
      ['10.2.0.0/33', /invalid_cidr/],
      ['', /invalid_cidr/]
    ] as const) {
      const ran = await add('--dest-cidr', cidr)
      assert.equal(ran.exit, 2, cidr)
      assert.match(ran.err, /^error: invalid_cidr: /)
      assert.match(ran.err, hint)
    }
    const mixed = await add('--source-cidr', 'fd00::/64', '--dest-cidr', '10.2.0.0/24')
    assert.match(mixed.err, /^error: invalid_cidr: /)
    const none = await add()
    assert.deepEqual([none.exit, none.out], [2, ''])
    assert.equal((await host.cli(['routes', 'add', '--service', 'NOPE', '--dest-cidr', '10.2.0.0/24'])).exit, 4)
  })

  it('can be tested: which service, handler and peer, and every candidate with --trace', async () => {
    await host.cli(['routes', 'add', '--service', service, '--dest-cidr', '10.2.0.0/24'])
    const test = ['routes', 'test', '--source', '10.1.0.2', '--dest', '10.2.0.2']
    const tcp = await host.cli([...test, '-j'])
    assert.deepEqual([tcp.json.handler, tcp.json.service_id, tcp.json.target_peer_id], ['pegasus', service, EDGE_B])
    assert.equal('candidates' in tcp.json, false)
    const udp = await host.cli([...test, '--protocol', 'udp', '--trace', '-j'])
    assert.deepEqual([udp.json.handler, udp.json.candidates.length], ['tempest', 1])
    const told = (await host.cli([...test, '--trace'])).out
    assert.match(told, /^won +01.* higher priority /m)
    assert.match(told, /^put there: .* by edge-a, change c0ffee/m)
    const none = await host.cli(['routes', 'test', '--source', '10.1.0.2', '--dest', '192.0.2.1', '-j'])
    assert.deepEqual([none.exit, none.json.handler, none.json.service_id], [0, 'none', null])
    const bad = await host.cli(['routes', 'test', '--source', 'here', '--dest', '192.0.2.1'])
    assert.deepEqual([bad.exit, bad.err.startsWith('error: invalid_request: source "here"')], [2, true])
  })
})
