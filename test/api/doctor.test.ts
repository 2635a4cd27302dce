import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'

describe('api: doctor', () => {
  let host: ApiHost
  beforeEach(async () => {
    host = await ApiHost.start()
  })
  afterEach(() => host.stop())

  it('says what was looked at, and ends well when nothing fails', async () => {
    const ran = await host.cli(['doctor'])
    assert.equal(ran.exit, 0)
    assert.match(ran.out, /^ +CHECK +FOUND\nok +open files +up to 20000\n\n1 ok, 0 to know, 0 to mend\n$/)
  })

  it('says how to mend each, and exits 1 when something fails, in every format', async () => {
    host.operator.checks = [
      { name: 'forwarding', status: 'warn', found: 'off', mend: 'sysctl -w x=1' },
      { name: 'TUN devices', status: 'fail', found: 'there are none', mend: 'load the tun module' }
    ]
    const ran = await host.cli(['doctor'])
    assert.equal(ran.exit, 1)
    assert.equal(ran.err, '')
    assert.match(ran.out, /fail +TUN devices +there are none\n +→ load the tun module\n/)
    const json = await host.cli(['doctor', '-j'])
    assert.deepEqual([json.exit, json.json], [1, { ok: false, checks: host.operator.checks }])
    host.operator.checks.pop()
    assert.equal((await host.cli(['doctor'])).exit, 0)
  })

  it('of a remote agent that is away is an error, since this host is not the one in question', async () => {
    const ran = await host.cli(['--api', 'http://127.0.0.1:1', 'doctor'], { env: { ARCTIC_SOCKET: '' } })
    assert.equal(ran.exit, 3)
    assert.match(ran.err, /no agent answers at/)
  })
})
