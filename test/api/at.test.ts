import assert from 'node:assert/strict'
import { readTime } from '../../src/actors/operator/time.ts'
import { ApiHost } from './api-host.ts'

describe('api and cli: answers from the past', function () {
  this.timeout(20_000)
  let host: ApiHost
  const at = '2026-01-31T12:00:00.000Z'
  const change = 'c0ffee00'.repeat(8)
  let id: string

  beforeEach(async () => {
    host = await ApiHost.start()
    id = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'old' })).json.id
    await host.ask('POST', `/v1/services/${id}/routes`, { routes: [{ dest_cidr: '10.2.0.0/24' }] })
    for (const moment of [at, change]) host.operator.moments.set(moment, [...host.operator.services.values()])
    await host.ask('PUT', `/v1/services/${id}`, { name: 'new' })
  })
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('are given to ?at= a time or a change, without what nobody wrote down', async () => {
    for (const moment of [at, change]) {
      const one = await host.ask('GET', `/v1/services/${id}?at=${moment}`)
      assert.deepEqual([one.json.name, one.json.status, one.headers['etag']], ['old', null, undefined])
      assert.equal((await host.ask('GET', `/v1/services?at=${moment}&limit=1`)).json[0].name, 'old')
      assert.equal((await host.ask('GET', `/v1/routes?at=${moment}`)).json[0].status, null)
      assert.equal((await host.ask('GET', `/v1/services/${id}/routes?at=${moment}`)).json[0].status, null)
      assert.equal((await host.ask('GET', `/v1/peers?at=${moment}`)).json[0].reachable, null)
      const tested = await host.ask('GET', `/v1/routes/test?source=10.1.0.2&dest=10.2.0.2&at=${moment}`)
      assert.match(tested.json.reason, new RegExp(moment))
    }
    assert.equal((await host.ask('GET', `/v1/services/${id}`)).json.name, 'new')
    assert.equal((await host.ask('GET', '/v1/services?at=abcdef12')).status, 404)
    assert.equal((await host.ask('GET', '/v1/services?at=')).status, 400)
  })

  it('are not given for a day that is none', async () => {
    const ran = await host.cli(['services', 'list', '--at', '2026-02-30'])
    assert.deepEqual([ran.exit, ran.out], [2, ''])
    assert.match(ran.err, /--at "2026-02-30" is neither a time/)
    for (const day of ['2026-02-30', '2025-02-29', '2026-04-31T12:00Z', '2026-13-01', '2026-00-10', '2026-01-00']) {
      assert.throws(() => readTime('at', day), { code: 'invalid_request' }, day)
    }
    assert.equal(readTime('at', '2024-02-29'), Date.UTC(2024, 1, 29))
  })

  it('read well in every form, with - for what is not known', async () => {
    for (const format of ['table', 'wide', 'json', 'yaml', 'name', 'jsonl']) {
      for (const command of [
        ['services', 'list'],
        ['services', 'get', id],
        ['routes', 'list'],
        ['peers', 'list']
      ]) {
        const told = await host.cli([...command, '--at', change, '-o', format])
        assert.deepEqual([told.exit, told.err], [0, ''], `${command.join(' ')} -o ${format}`)
        assert.notEqual(told.out.trim(), '')
      }
    }
    assert.match((await host.cli(['services', 'list', '--at', change])).out, /^01\w+ +old .* - +- +- +- /m)
    assert.match((await host.cli(['services', 'get', id, '--at', change])).out, /^name: +old$/m)
    const { out } = await host.cli(['routes', 'test', '--source', '10.1.0.2', '--dest', '10.2.0.2', '--at', change])
    assert.match(out, /^handler: +none$/m)
  })

  it('take a time of this host, or so long ago, and refuse what is neither and what cannot be watched', async () => {
    const asked: string[] = []
    const { at: ask } = host.operator
    host.operator.at = (moment) => {
      asked.push(moment)
      return ask.call(host.operator, change)
    }
    const begun = Date.now()
    for (const text of ['1h', '2026-01-31T12:00', '2026-01-31', '2026-01-31 12:00:00Z', change.slice(0, 12)]) {
      assert.equal((await host.cli(['routes', 'list', '--at', text])).exit, 0, text)
    }
    const [ago = '', local, day, utc, hash] = asked
    assert.ok(Math.abs(begun - 3_600_000 - Date.parse(ago)) < 60_000, ago)
    assert.equal(local, new Date('2026-01-31T12:00').toISOString())
    assert.equal(day, new Date('2026-01-31T00:00').toISOString())
    assert.deepEqual([utc, hash], [at, change.slice(0, 12)])
    for (const flags of [
      ['--at', 'lately'],
      ['--at', change, '--watch'],
      ['--at', '2026-02-31T25:00']
    ]) {
      const wrong = await host.cli(['services', 'list', ...flags])
      assert.deepEqual([wrong.exit, wrong.out], [2, ''], flags.join(' '))
      assert.match(wrong.err, /^error: invalid_request: /)
    }
  })

  it('complete changes', async () => {
    assert.match((await host.cli(['__complete', '--', 'services', 'get', id, '--at', ''])).out, /^0{12}\t/m)
  })
})
