import assert from 'node:assert/strict'
import type { FlowJson } from '../../src/actors/operator/flows.ts'
import { isoTime } from '../../src/clock.ts'
import { newService } from '../../src/crdt/validate.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B, EDGE_C } from './memory-operator.ts'

const openFlow = (n: number, more: Partial<FlowJson>): FlowJson => ({
  side: 'source',
  peer_id: EDGE_B,
  client: `10.1.0.${n}:1`,
  destination: '10.2.0.2:80',
  dialled_from: null,
  state: 'open',
  bytes_in: 0,
  bytes_out: 0,
  age_ms: 0,
  connect_ms: null,
  first_byte_ms: null,
  ...more
})

describe('api: services', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [], 'nothing was an internal error')
  })

  const create = async (body: object = {}): Promise<{ id: string; name: string }> => {
    const answer = await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', ...body })
    assert.equal(answer.status, 201, answer.text)
    return answer.json
  }

  it('is created with 201, read, changed field by field, and deleted with 204', async () => {
    const made = await host.ask('POST', '/v1/services', {
      target_peer_id: 'edge-b',
      source_peer_id: EDGE_A.slice(0, 14),
      name: 'web'
    })
    assert.equal(made.status, 201)
    assert.match(String(made.headers['content-type']), /^application\/json/)
    assert.equal(made.json.source_peer_id, EDGE_A)
    assert.equal(made.json.target_peer_id, EDGE_B)
    const path = `/v1/services/${made.json.id}`

    const changed = await host.ask('PUT', path, { bandwidth_limit_mbps: 50 })
    assert.equal(changed.status, 200)
    assert.equal(changed.json.bandwidth_limit_mbps, 50)
    assert.equal(changed.json.name, 'web')

    assert.deepEqual((await host.ask('GET', path)).json.name, 'web')
    const gone = await host.ask('DELETE', path)
    assert.deepEqual([gone.status, gone.text], [204, ''])
    const missing = await host.ask('GET', path)
    assert.equal(missing.status, 404)
    assert.equal(missing.json.error.code, 'service_not_found')
  })

  it('tells its open flows, most bytes first unless asked for the oldest, and no more than asked for', async () => {
    const { id } = await create()
    host.operator.flows = [1, 2, 3].map((n) => openFlow(n, { bytes_in: n, age_ms: 10 - n }))
    const clients = async (query: string): Promise<string[]> => {
      const answer = await host.ask('GET', `/v1/services/${id}/flows${query}`)
      assert.equal(answer.status, 200, answer.text)
      return answer.json.map(({ client }: { client: string }) => client)
    }
    assert.deepEqual(await clients(''), ['10.1.0.3:1', '10.1.0.2:1', '10.1.0.1:1'])
    assert.deepEqual(await clients('?sort=age&limit=1'), ['10.1.0.1:1'])
    for (const query of ['?limit=0', '?limit=10001', '?sort=name', '?order=1'])
      assert.equal((await host.ask('GET', `/v1/services/${id}/flows${query}`)).status, 400, query)
    assert.equal((await host.ask('GET', '/v1/services/01JNOBODY/flows')).status, 404)

    const shown = await host.cli(['services', 'get', id, '--flows', '--limit', '2'])
    assert.equal(shown.err, '')
    assert.match(shown.out, /CLIENT +DESTINATION.*\n10\.1\.0\.3:1 +10\.2\.0\.2:80 +open/)
    const json = (await host.cli(['services', 'get', id, '--flows', '-j'])).json
    assert.deepEqual([json.id, json.open_flows.length], [id, 3])
    assert.equal((await host.cli(['services', 'get', id, '--sort', 'age'])).exit, 2)
    host.operator.flows = []
    assert.match((await host.cli(['services', 'get', id, '--flows'])).out, /no open flows\n$/)
  })

  it('starts at the answering peer when no source is named', async () => {
    const { id } = await create()
    assert.equal((await host.ask('GET', `/v1/services/${id}`)).json.source_peer_id, EDGE_A)
  })

  it('is listed as an array, by source or target', async () => {
    await create()
    assert.equal((await host.ask('GET', '/v1/services')).json.length, 1)
    assert.equal((await host.ask('GET', `/v1/services?target_peer_id=${EDGE_B}`)).json.length, 1)
    assert.deepEqual((await host.ask('GET', '/v1/services?target_peer_id=edge-a')).json, [])
    const unknown = await host.ask('GET', '/v1/services?source_peer_id=nobody')
    assert.deepEqual([unknown.status, unknown.json.error.code], [404, 'peer_not_found'])
  })

  it('is listed whole however many there are, and the agent does other things meanwhile', async () => {
    const count = 3000
    for (let n = 0; n < count; n++) {
      const id = String(n).padStart(26, '0')
      host.operator.services.set(id, {
        ...newService({ source_peer_id: EDGE_A, target_peer_id: EDGE_B }, id, isoTime(0))
      })
    }
    const order: string[] = []
    const list = host.ask('GET', '/v1/services').finally(() => order.push('list'))
    const health = host.ask('GET', '/healthz').finally(() => order.push('health'))
    await Promise.all([list, health])
    assert.deepEqual(order, ['health', 'list'])
    const ids = (await list).json.map((service: { id: string }) => service.id)
    assert.deepEqual(ids, [...host.operator.services.keys()])
    assert.deepEqual((await host.ask('HEAD', '/v1/services')).status, 200)
    assert.equal((await host.cli(['services', 'list', '-j'])).json.length, count)
  })

  it('is refused with the code and status of the contract', async () => {
    const { name } = await create({ name: 'web' })
    const refusals: Array<[body: object, status: number, code: string]> = [
      [{ target_peer_id: 'edge-c' }, 409, 'target_peer_not_admitted'],
      [{ target_peer_id: EDGE_C }, 409, 'target_peer_not_admitted'],
      [{ target_peer_id: 'nobody' }, 404, 'peer_not_found'],
      [{ target_peer_id: '12D3Koo' }, 404, 'peer_not_found'],
      [{ target_peer_id: 'edge-a' }, 400, 'invalid_request'],
      [{ target_peer_id: 'edge-b', name }, 409, 'name_taken'],
      [{ target_peer_id: 'edge-b', fully_transparent: true }, 400, 'transparent_requires_interface'],
      [
        { target_peer_id: 'edge-b', fully_transparent: true, requires_interface: true, transport_type: 'kcp' },
        400,
        'transparent_tcp_only'
      ],
      [{ target_peer_id: 'edge-b', requires_interface: true, desired_ipv4_cidr: '10.0.0.1' }, 400, 'invalid_cidr'],
      [{}, 400, 'invalid_request']
    ]
    for (const [body, status, code] of refusals) {
      const answer = await host.ask('POST', '/v1/services', body)
      assert.deepEqual([answer.status, answer.json.error.code], [status, code], JSON.stringify(body))
    }
    assert.equal(host.operator.services.size, 1)
  })

  it('cannot change its peers, and the refusal says why', async () => {
    const { id } = await create()
    const answer = await host.ask('PUT', `/v1/services/${id}`, { target_peer_id: 'edge-a' })
    assert.equal(answer.status, 400)
    assert.match(answer.json.error.message, /"target_peer_id" cannot be changed/)
  })

  it('is created, shown, changed and deleted from the command line', async () => {
    const made = await host.cli(['services', 'create', '--target-peer', 'edge-b', '--name', 'web', '-j'])
    assert.deepEqual([made.exit, made.err], [0, ''])
    const { id } = made.json

    const shown = await host.cli(['service', 'get', id])
    assert.match(shown.out, /^id: +01/m)
    assert.match(shown.out, /bytes in, out: +1\.5 KiB, 0 B/)
    assert.match(shown.out, /DataplaneDisabled/)

    const listed = await host.cli(['services', 'list'])
    assert.match(listed.out, /^ID +NAME +SOURCE +TARGET/)
    assert.match(listed.out, new RegExp(`^${id}  web   edge-a  edge-b  tcp        pending`, 'm'))
    assert.deepEqual((await host.cli(['-j', 'services', 'list'])).json[0].id, id)

    const deleted = await host.cli(['services', 'delete', id, '--yes', '-o', 'json'])
    assert.deepEqual(deleted.json, { id, deleted: true })
    const again = await host.cli(['services', 'delete', id, '--yes'])
    assert.equal(again.exit, 4)
    assert.match(again.err, /^error: service_not_found: no service "[^\n]*\n$/)
  })

  it('sends only the fields that were given, in every form a switch has', async () => {
    const { id } = await create({ requires_interface: true, desired_ipv4_cidr: '10.9.0.1/24' })
    const sent: object[] = []
    const { operator } = host
    const update = operator.updateService.bind(operator)
    operator.updateService = (service, patch) => {
      sent.push(patch)
      return update(service, patch)
    }
    const forms = [
      ['--bandwidth-limit', '12.5'],
      ['--no-desired-ipv4'],
      ['--requires-interface=false'],
      ['--requires-interface'],
      ['--no-requires-interface'],
      ['--requires-interface', '--desired-ipv6=fd00::1/64', '--transport', 'kcp', '--name', 'web']
    ]
    for (const form of forms) {
      const ran = await host.cli(['services', 'update', id, ...form, '-j'])
      assert.equal(ran.exit, 0, ran.err)
    }
    assert.deepEqual(sent, [
      { bandwidth_limit_mbps: 12.5 },
      { desired_ipv4_cidr: null },
      { requires_interface: false },
      { requires_interface: true },
      { requires_interface: false },
      { requires_interface: true, desired_ipv6_cidr: 'fd00::1/64', transport_type: 'kcp', name: 'web' }
    ])
    const nothing = await host.cli(['services', 'update', id])
    assert.equal(nothing.exit, 2)
    assert.match(nothing.err, /nothing to change/)
  })

  it('passes refusals of the server through with their exit code', async () => {
    const cases: Array<[args: string[], exit: number, code: string]> = [
      [['--target-peer', 'edge-c'], 5, 'target_peer_not_admitted'],
      [['--target-peer', 'nobody'], 4, 'peer_not_found'],
      [['--target-peer', 'edge-b', '--fully-transparent'], 2, 'transparent_requires_interface'],
      [['--target-peer', 'edge-b', '--requires-interface', '--desired-ipv4', '10.0.0.1/40'], 2, 'invalid_cidr']
    ]
    for (const [args, exit, code] of cases) {
      const ran = await host.cli(['services', 'create', ...args, '-j'])
      assert.deepEqual([ran.exit, ran.out, JSON.parse(ran.err).error.code], [exit, '', code])
      const told = await host.cli(['services', 'create', ...args])
      assert.ok(told.err.startsWith(`error: ${code}: `) && told.err.indexOf('\n') === told.err.length - 1, told.err)
    }
  })
})
