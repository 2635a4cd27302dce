import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'

describe('api: licence and policy', () => {
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start()
  })
  afterEach(() => host.stop())

  it('a policy is set, shown, in force, and taken away again', async () => {
    assert.equal((await host.cli(['cluster', 'policy'])).out, 'services: no limit\n')
    assert.equal((await host.cli(['cluster', 'policy', '--max-services', '1'])).out, 'services: 1\n')
    assert.equal((await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).status, 201)
    const beyond = await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })
    assert.deepEqual([beyond.status, beyond.json.error.code], [409, 'service_limit_exceeded'])
    const ran = await host.cli(['services', 'create', '--target-peer', 'edge-b'])
    assert.equal(ran.exit, 5)
    assert.match(ran.err, /^error: service_limit_exceeded: no more than 1 services: .*the cluster policy allows; /)
    assert.match((await host.cli(['cluster', 'status'])).out, /^policy: +1 services at most$/m)
    assert.match((await host.cli(['license', 'show'])).out, /^services: +1 of 1$/m)
    const none = await host.cli(['cluster', 'policy', '--max-services', 'none', '-j'])
    assert.deepEqual(none.json, { max_services: null })
    assert.equal((await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).status, 201)
  })

  it('a policy that is none is refused, and nothing changes', async () => {
    for (const policy of [{}, { max_services: -1 }, { max_services: 1.5 }, { max_services: '1' }, { max: 1 }, null]) {
      const answer = await host.ask('PUT', '/v1/cluster', { policy })
      assert.deepEqual([answer.status, answer.json.error.code], [400, 'invalid_request'], JSON.stringify(policy))
    }
    assert.equal((await host.cli(['cluster', 'policy', '--max-services', 'many'])).exit, 2)
    assert.deepEqual((await host.ask('GET', '/v1/cluster')).json.policy, { max_services: null })
  })

  it('a licence that does not count is named where an operator looks', async () => {
    assert.match(
      (await host.cli(['license', 'show'])).out,
      /^edition: +community\nholder: +-\nservices: +0 of any number\n/
    )
    host.operator.licenseProblem = 'the licence /l cannot be read (EACCES); mend that'
    for (const words of [['status'], ['license', 'show']])
      assert.match((await host.cli(words)).out, /cannot be read \(EACCES\)/)
    const { edition, problem } = (await host.cli(['license', 'show', '-j'])).json
    assert.deepEqual([edition, problem], ['community', host.operator.licenseProblem])
  })
})
