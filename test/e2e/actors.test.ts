import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { ActorDetailJson, ActorUpdateJson } from '../../src/actors/operator/actor-json.ts'
import type { ChangeJson } from '../../src/actors/operator/history-json.ts'
import { ARCTIC } from '../../lab/peer.ts'
import type { Task } from '../../lab/task.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, serveSites, type Mesh } from './two-sites.ts'

const QUICK = { timeoutMs: 10_000 }

/** Two real agents; what one operator sees and does at the other's. */
describe('e2e: actors across hosts', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let id: string

  before(async function () {
    mesh = await meshOf(this, 'e2e-actors')
    ;({ id } = await serveSites(mesh))
  })
  after(() => mesh?.lab.close())

  it('edge-a looks into edge-b, by flag and by address, and draws its machines', async () => {
    const { a, b } = mesh
    const tree = await a.cli('actors', 'tree', '--peer', 'edge-b')
    assert.match(tree.stdout, new RegExp(`service:${id} +active`), tree.stderr)
    const detail = await a.ask<ActorDetailJson>('actors', 'inspect', `actor://edge-b/service:${id}`)
    assert.deepEqual([detail.peer_id, detail.context['role']], [await b.id, 'target'])
    const netmgr = await a.ask<ActorDetailJson>('actors', 'inspect', 'netmgr', '--peer', 'edge-b')
    const { addresses, networks } = netmgr.context['host'] as Record<'addresses' | 'networks', string[]>
    assert.ok(addresses.includes('10.2.0.1') && networks.includes('10.2.0.0/24'), `${addresses} ${networks}`)
    const drawn = await a.cli('actors', 'inspect', 'netmgr', '--peer', 'edge-b', '--diagram')
    assert.match(drawn.stdout, /● applied/)
    assert.match(drawn.stdout, /^stateDiagram-v2$/m)
    const top = await a.cli('top', '--peer', 'edge-b')
    assert.match(top.stdout, /^arctic top {2}edge-b /)
    assert.equal((await a.cli('actors', 'tree', '--peer', 'nobody')).code, 4)
  })

  it('what is sent there is noted there, and in the history everywhere', async () => {
    const { a, b } = mesh
    const sent = await a.cli('actors', 'send', 'actor://edge-b/pegasus', 'engine.exited')
    assert.equal(sent.code, 0, sent.stderr)
    const by = `socket at ${await a.id}`
    assert.ok(b.log().some((line) => line['message'] === 'an event was sent by hand' && line['by'] === by))
    for (const peer of [a, b]) {
      await until(
        'the history to say so',
        async () => {
          const [change] = await peer.ask<ChangeJson[]>('cluster', 'history', '--author', 'edge-b', '-n', '1')
          const object = change?.objects[0]
          return change?.verified === true && object?.id === 'pegasus' && object.fields['by']?.after === by
        },
        QUICK
      )
    }
  })

  it('a watch goes on over a crash of the other agent', async () => {
    const { a, b, sites } = mesh
    const watch = await sites.edgeA.spawn([
      ARCTIC,
      '--socket',
      a.socket,
      'actors',
      'watch',
      'actor://edge-b/netmgr',
      '-j'
    ])
    const seen = (): ActorUpdateJson[] => updates(watch)
    await until('the watch to stand', () => seen().length === 1, QUICK)
    await b.end('SIGKILL')
    await b.start()
    await until('the watch to stand again', () => seen().filter(({ event }) => event == null).length >= 2, {
      timeoutMs: 20_000
    })
    await until(
      'edge-b to take events again',
      async () => {
        return (await a.cli('actors', 'send', 'actor://edge-b/tempest', 'engine.exited')).code === 0
      },
      QUICK
    )
    await a.ask('services', 'update', id, '--bandwidth-limit', '100')
    await until('a step to be seen', () => seen().at(-1)?.event != null, { timeoutMs: 10_000 })
    await watch.stop({ signal: 'SIGINT' })
  })

  it('a repl at the other peer reads, and writes only when it may', async () => {
    const { a } = mesh
    const lines = "(await actor('agent').inspect()).peer_id\nactor('tempest').send('engine.ready')\n[1,\n2].length\n"
    const run = (...flags: string[]): Promise<string> =>
      mesh.sites.edgeA.exec([ARCTIC, '--socket', a.socket, 'repl', '--peer', 'edge-b', ...flags], { input: lines })
    const read = await run()
    assert.match(read, new RegExp(`'${await mesh.b.id}'`))
    assert.match(read, /error: forbidden: .*--write/)
    assert.match(read, /^2$/m, 'an expression of several lines')
    assert.match(await run('--write'), /path: 'tempest'/)
  })

  it('a bug report holds the log and the rules, and none of the keys', async () => {
    const { a } = mesh
    const { file } = await a.ask<{ file: string }>('bugreport', '-o', mesh.sites.edgeA.path('report.tar.gz'))
    const text = gunzipSync(readFileSync(file)).toString()
    assert.match(text, /the agent is up/)
    assert.match(text, /table inet arctic \{/)
    assert.match(text, new RegExp(`"path":"service:${id}","event":"start"`))
    const identity = JSON.parse(readFileSync(`${a.stateDir}/identity`, 'utf8')) as Record<string, unknown>
    const secrets = ['peer_seed', 'pegasus_key', 'tempest_key'].map((name) => String(identity[name]))
    assert.ok(secrets.every((secret) => Buffer.from(secret, 'base64').length === 32))
    for (const secret of secrets) assert.ok(!text.includes(secret))
  })
})

function updates(watch: Task): ActorUpdateJson[] {
  return watch.json('out') as unknown as ActorUpdateJson[]
}
