import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B, EDGE_C } from './memory-operator.ts'

describe('api and cli: peers', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('are renamed, and found by their new name alone', async () => {
    const renamed = await host.cli(['peers', 'rename', 'edge-b', 'branch', '-j'])
    assert.deepEqual([renamed.exit, renamed.json.id, renamed.json.name], [0, EDGE_B, 'branch'])
    assert.equal((await host.cli(['peers', 'get', 'edge-b'])).exit, 4)
    const taken = await host.cli(['peers', 'rename', 'branch', 'edge-a'])
    assert.deepEqual([taken.exit, taken.err.startsWith('error: name_taken: ')], [5, true])
    const put = await host.ask('PUT', `/v1/peers/${EDGE_B}`, { name: 'edge-b' })
    assert.deepEqual([put.status, put.json.name], [200, 'edge-b'])
  })

  it('get another role, one that there is', async () => {
    assert.equal((await host.cli(['peer', 'role', 'edge-b', 'admin', '-j'])).json.role, 'admin')
    const put = await host.ask('PUT', `/v1/peers/${EDGE_B}`, { role: 'member' })
    assert.deepEqual([put.status, put.json.role], [200, 'member'])
    const wrong = await host.cli(['peers', 'role', 'edge-b', 'root'])
    assert.equal(wrong.exit, 2)
    assert.match(
      wrong.err,
      /^error: invalid_request: ROLE "root" is not one of member, admin; see "arctic peers role --help"/
    )
    for (const body of [{ role: 'root' }, { state: 'revoked' }, { name: '' }]) {
      assert.equal((await host.ask('PUT', `/v1/peers/${EDGE_B}`, body)).status, 400, JSON.stringify(body))
    }
    assert.equal((await host.ask('PUT', `/v1/peers/${EDGE_C}`, { role: 'admin' })).json.error.code, 'peer_not_found')
  })

  it('have their keys changed, this one unless another is named, and show where the new ones are in force', async () => {
    const own = await host.cli(['peers', 'rotate-keys', '-j', '--wait', '5s'])
    assert.deepEqual([own.exit, own.json.id, own.json.keys.changing, own.json.wait.done], [0, EDGE_A, true, true])
    assert.deepEqual(host.operator.keysWaitedFor, [EDGE_A])
    assert.deepEqual([host.operator.rotated.has(EDGE_B), host.operator.rotatedBy.length], [false, 1])
    const other = await host.cli(['peer', 'rotate-keys', 'edge-b'])
    assert.equal(other.exit, 0)
    assert.match(other.out, /^keys: +made \d+s ago; those before are still good$/m)
    assert.match(other.out, /^keys in force: +edge-a$/m)
    assert.match(other.out, /^not yet at: +edge-b$/m)
    assert.equal((await host.cli(['peers', 'rotate-keys', 'edge-b'])).exit, 5, 'the last change is not over')
    const again = await host.ask('POST', `/v1/peers/${EDGE_B}/rotate-keys`)
    assert.equal(again.status, 409)
    assert.equal((await host.ask('POST', `/v1/peers/${EDGE_A}/rotate-keys?wait=soon`)).status, 400)
    assert.match(
      (await host.cli(['peers', 'list', '-o', 'wide'])).out,
      /^NAME .* KEYS .*\n(.*\n)*edge-b .* \d+s \(1\/2\)/
    )
    assert.equal((await host.cli(['peers', 'rotate-keys', 'nobody'])).exit, 4)
  })

  describe('are revoked', () => {
    it('by a yes on a terminal, by --yes, and by a script, which nobody can ask', async () => {
      const no = await host.cli(['peers', 'revoke', 'edge-b'], { terminal: 'n\n' })
      assert.equal(no.exit, 1)
      assert.match(
        no.err,
        new RegExp(`^Revoke peer edge-b \\(${EDGE_B}\\) for good\\? .* \\[y/N\\] nothing was revoked\\n$`)
      )
      assert.equal((await host.ask('GET', `/v1/peers/${EDGE_B}`)).json.state, 'admitted')
      const yes = await host.cli(['peers', 'revoke', 'edge-b', '-j'])
      assert.deepEqual([yes.exit, yes.json.id, yes.json.state], [0, EDGE_B, 'revoked'])
    })

    it('by DELETE, which answers nothing; then only --all lists them', async () => {
      assert.equal((await host.ask('DELETE', `/v1/peers/${EDGE_B}`)).status, 204)
      const ids = (peers: Array<{ id: string }>): string[] => peers.map(({ id }) => id)
      assert.deepEqual(ids((await host.cli(['peers', 'list', '-j'])).json), [EDGE_A])
      assert.ok(ids((await host.cli(['peers', 'list', '--all', '-j'])).json).includes(EDGE_B))
      const shown = (await host.cli(['peers', 'get', 'edge-b'])).out
      assert.match(shown, /^revoked: +by edge-a at 20/m)
      assert.match(shown, /^known to: +edge-a$/m)
      assert.match(shown, /^not yet to: +edge-c$/m)
    })

    it('never by themselves, and nobody else is', async () => {
      const own = await host.cli(['peers', 'revoke', 'edge-a', '-y'])
      assert.deepEqual([own.exit, /cluster leave/.test(own.err)], [2, true])
      assert.equal((await host.cli(['peers', 'revoke', 'nobody', '-y'])).exit, 4)
    })
  })

  it('may be waited for, until all members know of it or are named', async () => {
    const put = await host.ask('PUT', `/v1/peers/${EDGE_B}?wait=5s`, { name: 'branch' })
    assert.deepEqual([put.json.name, put.json.wait.done], ['branch', true])
    assert.equal('wait' in (await host.ask('PUT', `/v1/peers/${EDGE_B}`, { name: 'edge-b' })).json, false)
    assert.equal((await host.cli(['peers', 'role', 'edge-b', 'admin', '--wait'])).exit, 0)
    host.operator.late.add(EDGE_A)
    const late = await host.cli(['peers', 'revoke', 'edge-b', '--yes', '--wait', '1s', '-j'])
    assert.deepEqual([late.exit, late.json.state, late.json.wait.done], [1, 'revoked', false])
    assert.match(late.err, /not in force on edge-ü \(NotConfirmed: .*look again with \\"arctic cluster status/)
    const gone = await host.ask('DELETE', `/v1/peers/${EDGE_B}?wait=1s`)
    assert.deepEqual([gone.status, JSON.parse(String(gone.headers['arctic-wait'])).done], [204, false])
    assert.equal((await host.ask('DELETE', `/v1/peers/${EDGE_B}?wait=soon`)).status, 400)
  })
})
