import assert from 'node:assert/strict'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { PeerJson } from '../../src/actors/operator/operator.ts'
import { ARCTIC, Peer } from '../../lab/peer.ts'
import type { Task } from '../../lab/task.ts'
import { SERVER } from '../../lab/topology.ts'
import { answered, tcp, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { carryingMeshOf, type Mesh } from './two-sites.ts'

/** How long the keys before a change stay good here, ms. */
const overlapMs = 8_000
const noticedMs = 30_000

describe('e2e: data-plane keys are changed while traffic runs', function () {
  this.timeout(120_000)
  let mesh: Mesh
  let flow: Task

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-keys', { flags: ['--key-overlap', `${overlapMs}ms`] })
    await tcpServer(mesh.sites.server, SERVER.v4, { echo: 7001, greet: 7002 })
    await until('TCP to be carried', greets, { timeoutMs: noticedMs })
    flow = await ticker(mesh.sites.client, SERVER.v4, 7001, 10)
  })
  after(() => mesh?.lab.close())
  afterEach(() => assert.ok(flow.running, `the flow that ran all the time has ended: ${flow.stdout.slice(-300)}`))

  const greets = async (): Promise<boolean> =>
    (await tcp(mesh.sites.client, { address: SERVER.v4, port: 7002, waitMs: 1000 })).text.startsWith('hello')
  const seen = async (by: Peer, name: string): Promise<NonNullable<PeerJson['keys']>> => {
    const { keys } = await by.ask<PeerJson>('peers', 'get', name)
    assert.ok(keys != null)
    return keys
  }
  const settled = (by: Peer, name: string): Promise<unknown> =>
    until(`the change of ${name}'s keys to be over`, async () => !(await seen(by, name)).changing, {
      timeoutMs: noticedMs
    })
  const secretsOf = async (peer: Peer): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(peer.stateDir, 'identity'), 'utf8')) as Record<string, unknown>
  /** Numbered packets, 20 a second. */
  const pinging = (count: number): Promise<number> => answered(mesh.sites.client, SERVER.v4, { count, everyMs: 50 })
  const refusals = (peer: Peer): unknown[] =>
    peer.log().filter(({ msg, reason }) => msg === 'refused' && ['wrong_key', 'unknown_peer'].includes(String(reason)))

  for (const [who, how] of [
    ['edge-a', 'its own'],
    ['edge-b', "another's"]
  ] as const) {
    it(`by the command, ${how}: with --wait both ends have them in force, and no packet is lost`, async () => {
      const subject = who === 'edge-a' ? mesh.a : mesh.b
      const before_ = await seen(mesh.a, who)
      const secrets = await secretsOf(subject)
      const pings = pinging(60)
      const named = who === 'edge-a' ? [] : [who]
      const answer = await mesh.a.ask<PeerJson & { wait: { done: boolean } }>(
        'peers',
        'rotate-keys',
        ...named,
        '--wait'
      )
      assert.equal(answer.wait.done, true)
      const keys = await seen(mesh.a, who)
      assert.notEqual(keys.pegasus, before_.pegasus)
      assert.notEqual(keys.tempest, before_.tempest)
      assert.ok(Date.parse(keys.made_at!) > Date.parse(before_.made_at!))
      const again = await mesh.a.cli('peers', 'rotate-keys', who)
      assert.equal(again.code, 5, `a change before the last one is over: ${again.stderr}`)
      for (let n = 0; n < 3; n++) assert.ok(await greets(), `connection ${n}`)
      await settled(mesh.a, who)
      assert.equal(await pings, 60)
      const left = await readFile(join(subject.stateDir, 'identity'), 'utf8')
      for (const field of ['pegasus_key', 'tempest_key']) assert.ok(!left.includes(String(secrets[field])), field)
      assert.equal((await stat(join(subject.stateDir, 'identity'))).mode & 0o777, 0o600)
      for (let n = 0; n < 3; n++) assert.ok(await greets(), `connection ${n} with the new keys alone`)
      const { in_force, awaited } = await seen(mesh.a, who)
      assert.deepEqual(in_force.map(({ name }) => name).sort(), ['edge-a', 'edge-b'])
      assert.deepEqual(awaited, [])
      assert.deepEqual([...refusals(mesh.a), ...refusals(mesh.b)], [])
    })
  }

  it('shows how old they are, and where they are in force', async () => {
    const wide = await mesh.a.host.exec([...argv(), 'peers', 'list', '-o', 'wide'])
    assert.match(wide, /KEYS/)
    assert.match(wide, /edge-b.*\d+s /)
    const text = await mesh.a.host.exec([...argv(), 'peers', 'get', 'edge-b'])
    assert.match(text, /keys: +made \d+s ago/)
    assert.match(text, /keys in force: +edge-/)
  })
  const argv = (): string[] => [ARCTIC, '--socket', mesh.a.socket]

  it('the agent is killed in the middle: the next one goes on with the change', async () => {
    const before_ = await seen(mesh.b, 'edge-a')
    await mesh.a.ask('peers', 'rotate-keys')
    await mesh.a.end('SIGKILL')
    await mesh.a.start()
    await until('edge-b to know the new keys', async () => (await seen(mesh.b, 'edge-a')).pegasus !== before_.pegasus, {
      timeoutMs: noticedMs
    })
    await settled(mesh.b, 'edge-a')
    await mesh.a.active(mesh.service.id)
    for (let n = 0; n < 3; n++) assert.ok(await greets(), `connection ${n}`)
    assert.equal(await pinging(10), 10)
  })

  it('the other end is cut off over the whole overlap: it knows the new keys soon after it is back', async () => {
    await mesh.sites.edgeA.ip(['link set wire0 down'])
    await mesh.a.ask('peers', 'rotate-keys')
    await settled(mesh.a, 'edge-a')
    const { pegasus } = await seen(mesh.a, 'edge-a')
    assert.notEqual((await seen(mesh.b, 'edge-a')).pegasus, pegasus)
    await mesh.sites.edgeA.ip(['link set wire0 up', 'addr replace fd00:9::1/64 dev wire0 nodad'])
    await until('edge-b to know them', async () => (await seen(mesh.b, 'edge-a')).pegasus === pegasus, {
      timeoutMs: noticedMs
    })
    await until('TCP to be carried', greets, { timeoutMs: noticedMs })
    await until('pings to be carried', async () => (await pinging(5)) === 5, { timeoutMs: noticedMs })
    await flow.stop()
    flow = await ticker(mesh.sites.client, SERVER.v4, 7001, 10)
  })

  it('by age, as the agent is configured, again and again', async () => {
    await mesh.b.end('SIGUSR2')
    const aging = new Peer(mesh.sites.edgeB, { flags: ['--key-overlap', '1s', '--key-max-age', '3s'] })
    await aging.start()
    const keys = new Set<string>()
    await until('three changes', async () => keys.add((await seen(mesh.a, 'edge-b')).pegasus).size >= 4, {
      timeoutMs: 40_000
    })
    assert.ok(await greets())
  })
})
