import assert from 'node:assert/strict'
import type { ServiceJson, WaitJson } from '../../src/actors/operator/operator.ts'
import type { Peer } from '../../lab/peer.ts'
import { SERVER } from '../../lab/topology.ts'
import { tcp, tcpServer } from '../../lab/traffic/tools.ts'
import { meshOf, type Mesh } from './two-sites.ts'

describe('e2e: --wait', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let service: ServiceJson

  before(async function () {
    mesh = await meshOf(this, 'e2e-wait')
    await tcpServer(mesh.sites.server, SERVER.v4, { greet: 7002 })
  })
  after(() => mesh?.lab.close())

  const greeting = async (): Promise<string> =>
    (await tcp(mesh.sites.client, { address: SERVER.v4, port: 7002, waitMs: 3000 })).text
  const pegasusPid = async (peer: Peer): Promise<number> => {
    const engine = (await peer.status()).dataplane.engines.find((one) => one.engine === 'pegasus')
    assert.ok(engine?.pid != null)
    return engine.pid
  }

  it('a route is in force on both hosts when the command returns: the first connection is carried', async () => {
    const { a } = mesh
    service = await a.ask<ServiceJson>('services', 'create', '--target-peer', 'edge-b', '--wait', '10s')
    const added = await a.ask<{ wait: WaitJson; status: string }>(
      'routes',
      'add',
      `--service=${service.id}`,
      '--dest-cidr=10.2.0.0/24',
      '--wait=10s'
    )
    assert.deepEqual([added.wait.done, added.status], [true, 'active'])
    assert.match(await greeting(), /^hello/)
  })

  it('a peer whose engine is stopped is named, the change stays, and it is in force once the engine goes on', async () => {
    const { a, b } = mesh
    const pid = await pegasusPid(b)
    process.kill(pid, 'SIGSTOP')
    try {
      const late = await a.cli('services', 'update', service.id, '--bandwidth-limit', '900', '--wait', '2s', '-j')
      assert.equal(late.code, 1)
      const { error } = JSON.parse(late.stderr)
      assert.deepEqual(
        error.details.stragglers.map(({ name }: { name: string }) => name),
        ['edge-b']
      )
      assert.equal((JSON.parse(late.stdout) as ServiceJson).bandwidth_limit_mbps, 900)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    const again = await a.ask<ServiceJson & { wait: WaitJson }>(
      'services',
      'update',
      service.id,
      '--bandwidth-limit=900',
      '--wait=30s'
    )
    assert.equal(again.wait.done, true)
    await b.active(service.id)
  })

  it('a deletion returns when both hosts have removed it; until then the one that has not is named', async () => {
    const { a, b } = mesh
    const pid = await pegasusPid(a)
    process.kill(pid, 'SIGSTOP')
    try {
      const late = await b.cli('services', 'delete', service.id, '--yes', '--wait', '2s', '-j')
      assert.equal(late.code, 1)
      const [straggler] = JSON.parse(late.stderr).error.details.stragglers
      assert.deepEqual([straggler.name, straggler.reason], ['edge-a', 'Removing'])
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    const other = await b.ask<ServiceJson>('services', 'create', '--source-peer', 'edge-a', '--target-peer', 'edge-b')
    await b.ask('routes', 'add', '--service', other.id, '--dest-cidr', '10.2.0.0/24', '--wait', '30s')
    const deleted = await b.ask<{ wait: WaitJson }>('services', 'delete', other.id, '--yes', '--wait', '30s')
    assert.equal(deleted.wait.done, true)
    const rules = await a.host.exec(['nft', 'list', 'table', 'inet', 'arctic'])
    assert.doesNotMatch(rules, /10\.2\.0\.0/)
  })
})
