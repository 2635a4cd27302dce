import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

describe('api: waiting for a change to be in force', function () {
  this.timeout(20_000)
  let host: ApiHost
  before(async () => {
    host = await ApiHost.start()
  })
  after(() => host.stop())
  beforeEach(() => {
    host.operator.services.clear()
    host.operator.routes.clear()
    host.operator.late.clear()
    host.operator.waits.length = 0
  })

  const serviceId = async (): Promise<string> =>
    (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json.id

  describe('?wait=', () => {
    it('tells in the object of the answer how it went, and without it nothing', async () => {
      const waited = await host.ask('POST', '/v1/services?wait=10s', { target_peer_id: 'edge-b' })
      assert.equal(waited.status, 201)
      assert.partialDeepStrictEqual(waited.json, { target_peer_id: EDGE_B, wait: { done: true, stragglers: [] } })
      assert.deepEqual(host.operator.waits, [{ services: [waited.json.id], timeoutMs: 10_000 }])
      const path = `/v1/services/${waited.json.id}`
      assert.equal((await host.ask('PUT', `${path}?wait=true`, { name: 'two' })).json.wait.done, true)
      assert.equal(host.operator.waits.at(-1)?.timeoutMs, 30_000)
      const plain = await host.ask('PUT', path, { name: 'three' })
      assert.equal('wait' in plain.json, false)
      assert.equal(plain.headers['arctic-wait'], undefined)
      assert.equal('wait' in (await host.ask('GET', path)).json, false)
    })

    it('keeps the status of the write when somebody is late, and names who', async () => {
      host.operator.late.add(EDGE_B)
      const answer = await host.ask('POST', '/v1/services?wait=1s', { target_peer_id: 'edge-b' })
      assert.equal(answer.status, 201)
      assert.partialDeepStrictEqual(answer.json.wait, {
        done: false,
        stragglers: [{ peer: EDGE_B, service_id: answer.json.id, reason: 'Programming' }]
      })
      assert.equal(host.operator.services.size, 1)
    })

    it('tells in a header what a list and an empty answer have no place for, in ASCII', async () => {
      host.operator.late.add(EDGE_B)
      const id = await serviceId()
      const routes = { routes: [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.3.0.0/24' }] }
      const added = await host.ask('POST', `/v1/services/${id}/routes?wait=1s`, routes)
      assert.deepEqual([added.status, added.json.length], [201, 2])
      const told = JSON.parse(String(added.headers['arctic-wait']))
      assert.deepEqual([told.done, told.stragglers[0].name], [false, 'edge-ü'])
      const path = `/v1/services/${id}/routes/${added.json[0].id}`
      assert.equal((await host.ask('PUT', `${path}?wait=1s`, { priority: 7 })).json.wait.done, false)
      for (const gone of [path, `/v1/services/${id}`]) {
        const deleted = await host.ask('DELETE', `${gone}?wait=1s`)
        assert.deepEqual([deleted.status, deleted.text], [204, ''])
        assert.equal(JSON.parse(String(deleted.headers['arctic-wait'])).stragglers[0].service_id, id)
      }
    })

    it('a wait that is none is refused before anything is written', async () => {
      const id = await serviceId()
      for (const wrong of ['soon', '0s', '10', '-1s', '601s', '1w']) {
        for (const [method, path, body] of [
          ['POST', '/v1/services', { target_peer_id: 'edge-b' }],
          ['DELETE', `/v1/services/${id}`, undefined],
          ['POST', '/v1/apply', { services: [], prune: true }]
        ] as const) {
          const answer = await host.ask(method, `${path}?wait=${wrong}`, body)
          assert.deepEqual([answer.status, answer.json.error.code], [400, 'invalid_request'], answer.text)
          assert.match(answer.json.error.message, /wait/)
        }
      }
      assert.equal(host.operator.services.size, 1)
      assert.deepEqual(host.operator.waits, [])
    })

    it('an apply waits for all that it made, changed and deleted', async () => {
      const gone = await serviceId()
      const mesh = { services: [{ name: 'new', source_peer: 'edge-a', target_peer: 'edge-b' }], prune: true }
      const dry = await host.ask('POST', '/v1/apply?wait=1s', { ...mesh, dry_run: true })
      assert.deepEqual([dry.status, host.operator.waits.length], [200, 0])
      const applied = await host.ask('POST', '/v1/apply?wait=1s', mesh)
      assert.equal(applied.json.wait.done, true)
      const [made] = host.operator.services.keys()
      assert.deepEqual(host.operator.waits[0]?.services.toSorted(), [gone, made].toSorted())
    })
  })

  describe('--wait', () => {
    it('prints the object and exits 0 once it is in force', async () => {
      const made = await host.cli(['services', 'create', '--target-peer', 'edge-b', '--wait', '5s', '-j'])
      assert.deepEqual([made.exit, made.err, made.json.wait.done], [0, '', true])
      assert.equal(host.operator.waits[0]?.timeoutMs, 5_000)
      const changed = await host.cli(['services', 'update', made.json.id, '--name', 'x', '--wait'])
      assert.equal(changed.exit, 0)
      assert.equal(host.operator.waits[1]?.timeoutMs, 30_000)
    })

    it('prints the object, names the stragglers in one line on stderr and exits 1', async () => {
      host.operator.late.add(EDGE_B)
      const made = await host.cli(['services', 'create', '--target-peer', 'edge-b', '--wait=1m', '-j'])
      assert.equal(made.exit, 1)
      assert.equal(made.json.target_peer_id, EDGE_B)
      const { error } = JSON.parse(made.err)
      assert.partialDeepStrictEqual(error, { code: 'unavailable', details: { done: false } })
      const { id } = made.json
      const added = await host.cli(['routes', 'add', '--service', id, '--dest-cidr', '10.2.0.0/24', '--wait'])
      assert.equal(added.exit, 1)
      assert.match(added.out, /10\.2\.0\.0\/24/)
      assert.match(added.err, /^error: unavailable: it is written, but .* edge-ü \(Programming: still at it\); .*\n$/)
      const deleted = await host.cli(['services', 'delete', id, '--yes', '--wait', '2s'])
      assert.equal(deleted.exit, 1)
      assert.match(deleted.out, /deleted/)
      assert.equal(host.operator.services.size, 0)
    })

    it('takes the word after it only when it is a duration', async () => {
      const id = await serviceId()
      assert.equal((await host.cli(['services', 'update', '--wait', id, '--name', 'y'])).exit, 0)
      assert.equal(host.operator.waits[0]?.timeoutMs, 30_000)
      const wrong = await host.cli(['services', 'update', id, '--name', 'z', '--wait=soon'])
      assert.deepEqual([wrong.exit, wrong.out], [2, ''])
      assert.match(wrong.err, /--wait "soon" is not a duration/)
      const long = await host.cli(['services', 'update', id, '--name', 'z', '--wait', '1h'])
      assert.deepEqual([long.exit, long.out], [2, ''])
    })

    it('is for tokens and the policy too: which members know', async () => {
      host.operator.late.add(EDGE_B)
      const policy = await host.cli(['cluster', 'policy', '--max-services', '5', '--wait', '1s', '-j'])
      assert.deepEqual([policy.exit, policy.json.max_services, policy.json.wait.done], [1, 5, false])
      const made = await host.cli(['tokens', 'create', '--scope', 'admin', '--wait', '1s', '-j'])
      assert.deepEqual([made.exit, typeof made.json.token, made.json.wait.done], [1, 'string', false])
      const gone = await host.cli(['tokens', 'revoke', made.json.id, '--yes', '--wait', '1s'])
      assert.deepEqual([gone.exit, gone.out], [1, `token ${made.json.id} revoked\n`])
      assert.match(gone.err, /^error: unavailable: .*edge-ü \(NotConfirmed: .*"arctic cluster status"\n$/)
    })

    it('is in the help with its value in brackets, and completion goes on after it', async () => {
      assert.match((await host.cli(['services', 'update', '--help'])).out, /--wait \[DURATION\]/)
      const id = await serviceId()
      assert.match((await host.cli(['__complete', '--', 'services', 'update', '--wait', ''])).out, new RegExp(id))
    })
  })
})
