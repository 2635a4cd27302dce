import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { collect } from '../../src/api/cli/bugreport.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

const SECRET = 'S3cr3tS3cr3tS3cr3tS3cr3t'

describe('cli: bugreport', function () {
  this.timeout(20_000)
  let host: ApiHost
  before(async () => {
    host = await ApiHost.start()
    const { json } = await host.ask('POST', '/v1/services', { target_peer_id: EDGE_B, name: 'web' })
    await host.ask('POST', `/v1/services/${json.id}/routes`, { routes: [{ dest_cidr: '10.2.0.0/24' }] })
  })
  after(() => host.stop())

  const scratch = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('arctic-bugreport-'))

  it('packs what there is to know into one file that only its owner can read, and leaves nothing else behind', async () => {
    const before = scratch()
    const file = join(host.directory, 'report.tar.gz')
    const { exit, out, err } = await host.cli(['bugreport', '-o', file])
    assert.deepEqual([exit, out, err], [0, `${file}\n`, ''])
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const listed = execFileSync('tar', ['--list', '--file', file], { encoding: 'utf8' }).trim().split('\n')
    const folder = listed[0]!
    assert.match(folder, /^arctic-bugreport-edge-a-\d{8}T\d{6}Z\/$/)
    const unpacked = join(host.directory, 'unpacked')
    mkdirSync(unpacked)
    execFileSync('tar', ['--extract', '--file', file, '--directory', unpacked])
    const read = (name: string): string => readFileSync(join(unpacked, folder, name), 'utf8')
    const parsed = (name: string): never => JSON.parse(read(name)) as never
    assert.partialDeepStrictEqual(parsed('status.json'), { peer: { name: 'edge-a' } })
    assert.partialDeepStrictEqual(parsed('services.json'), [{ name: 'web' }])
    assert.partialDeepStrictEqual(parsed('routes.json'), [{ dest_cidr: '10.2.0.0/24' }])
    assert.partialDeepStrictEqual(parsed('actors.json'), { path: 'agent' })
    for (const name of [
      'cluster.json',
      'history.json',
      'peers.json',
      'activity.json',
      'versions.json',
      'config.json'
    ]) {
      assert.ok(parsed(name) != null, name)
    }
    assert.match(read('log.jsonl'), /the agent is up/)
    assert.ok(existsSync(join(unpacked, folder, 'kernel.txt')))
    assert.deepEqual(scratch(), before)
  })

  it('asks once for the routes of all services, however many there are', async () => {
    const asked: string[] = []
    const get = async (path: string): Promise<object> => {
      if (path === '/v1/status') return {}
      throw new Error('not asked about')
    }
    const list = async (path: string): Promise<object[]> => {
      asked.push(path)
      return []
    }
    const report = await collect({ get, list } as never)
    assert.deepEqual(asked, ['/v1/services', '/v1/routes'])
    assert.equal(report.get('routes.json'), '[]\n')
  })

  it('holds no secret, even when the agent lets one slip', async () => {
    const at = '2026-01-01T00:00:00.000Z'
    const step = { at, path: 'netmgr', event: 'x', reason: `password=${SECRET}`, from: null, to: null, by: null }
    host.operator.diagnosed = {
      config: { api_token: `arctic_01J00000000000000000000000_${SECRET}`, password: SECRET },
      log: [`{"message":"joined by arctic1.${SECRET}"}`, `{"headers":{"authorization":"Bearer ${SECRET}"}}`],
      traces: [
        {
          command: 'wg show',
          output: `private key: x\nprivate_key = ${SECRET}\n-----BEGIN PRIVATE KEY-----\n${SECRET}`
        }
      ],
      flight: [{ ...step, status: 'active' }]
    }
    const { json } = await host.cli(['bugreport', '-j', '-o', join(host.directory, 'secrets.tar.gz')])
    const text = gunzipSync(readFileSync(json.file as string)).toString()
    assert.ok(!text.includes(SECRET), text.slice(Math.max(0, text.indexOf(SECRET) - 200), text.indexOf(SECRET) + 50))
    assert.equal(text.match(/\[not shown\]/g)?.length, 7)
    host.operator.diagnosed = {}
  })

  it('is made of what can be had, and says what could not', async () => {
    host.operator.cluster = null
    const { exit, err, json } = await host.cli(['bugreport', '-j', '-o', join(host.directory, 'partly.tar.gz')])
    assert.equal(exit, 0)
    assert.match(err, /\/v1\/cluster: error: not_in_cluster/)
    assert.ok((json.files as string[]).includes('errors.txt'))
    assert.equal((await host.cli(['bugreport', '-o', '/nowhere/at/all.tar.gz'])).exit, 2)
  })
})
