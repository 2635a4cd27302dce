import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'mocha'
import type { LiveCluster } from '../../sim/rehearse/cluster.ts'
import type { Rehearsal } from '../../sim/rehearse/rehearse.ts'
import { ApiHost } from '../api/api-host.ts'
import { EDGE_A, EDGE_B } from '../api/memory-operator.ts'
import { arctic } from './support/command.ts'

type Answer = Rehearsal & { skipped: number }

/** A service `web` from edge-a to edge-b with a broad and a narrow route, and `old`, which goes the other way. */
const mesh = (services: object[]): string => JSON.stringify({ services })
const web = { name: 'web', source_peer: 'edge-a', target_peer: 'edge-b' }

describe('sim: rehearsal', function () {
  this.timeout(240_000)
  this.slow(30_000)
  let api: ApiHost
  let dir: string
  let flows: string
  let ids: Record<'web' | 'old', string>

  before(async () => {
    api = await ApiHost.start()
    dir = await mkdtemp(join(tmpdir(), 'arctic-rehearse-'))
    const one = await api.operator.createService({ name: 'web', source_peer_id: EDGE_A, target_peer_id: EDGE_B })
    await api.operator.addRoutes(one.id, [{ dest_cidr: '10.8.0.0/16' }, { dest_cidr: '10.8.1.0/24', priority: 200 }])
    const two = await api.operator.createService({ name: 'old', source_peer_id: EDGE_B, target_peer_id: EDGE_A })
    await api.operator.addRoutes(two.id, [{ dest_cidr: '10.9.0.0/16' }])
    ids = { web: one.id, old: two.id }
    flows = join(dir, 'flows.jsonl')
    const lines = [
      // An agent's log, both sides of one flow; an event; and by hand.
      {
        module: 'pegasus',
        msg: 'flow closed',
        side: 'source',
        service: one.id,
        peer: EDGE_B,
        client: '10.1.0.7:4000',
        destination: '10.8.1.9:80'
      },
      {
        module: 'pegasus',
        msg: 'flow closed',
        side: 'target',
        service: one.id,
        peer: EDGE_A,
        client: '10.1.0.7:4000',
        destination: '10.8.1.9:80'
      },
      {
        type: 'flow.closed',
        data: { side: 'source', serviceId: one.id, peer: EDGE_B, client: '10.1.0.7:4001', destination: '10.8.2.9:80' }
      },
      { peer: 'edge-b', source: '10.2.0.5', dest: '10.9.3.3' },
      { peer: 'edge-a', source: '10.1.0.7', dest: '172.20.0.1' },
      { module: 'mesh', msg: 'no flow' },
      { peer: 'nobody', source: '10.1.0.7', dest: '10.8.1.9' }
    ]
    await writeFile(flows, `${lines.map((line) => JSON.stringify(line)).join('\n')}\nnot JSON\n`)
  })
  after(async () => {
    await api.stop()
    await rm(dir, { recursive: true })
  })

  async function play(change: string, ...more: string[]): Promise<{ code: number; answer: Answer; err: string }> {
    const file = join(dir, 'change.yaml')
    await writeFile(file, change)
    const { code, out, err } = await arctic(['sim', 'rehearse', '-f', file, '-j', ...more])
    return { code, err, answer: (out === '' ? null : JSON.parse(out)) as Answer }
  }
  const live = (): string[] => ['--socket', api.socket, '--flow-log', flows]

  it('says that nothing happens to the flows when nothing is changed', async () => {
    const { code, answer } = await play(
      mesh([{ ...web, routes: [{ dest_cidr: '10.8.0.0/16' }, { dest_cidr: '10.8.1.0/24', priority: 200 }] }]),
      ...live()
    )
    assert.deepEqual([code, answer.changes, answer.flows, answer.same], [0, [], 4, 4])
    assert.deepEqual([answer.unexplained, answer.skipped], [0, 3])
    assert.deepEqual(answer.violations, [])
  })

  it('names the flows that move, drop and appear, before anything is applied', async () => {
    const change = mesh([
      { ...web, routes: [{ dest_cidr: '10.8.1.0/24', priority: 200 }, { dest_cidr: '172.20.0.0/16' }] },
      { name: 'new', source_peer: 'edge-b', target_peer: 'edge-a', routes: [{ dest_cidr: '10.9.3.0/24' }] }
    ])
    const { code, answer } = await play(change, ...live())
    assert.equal(code, 1)
    const short = (list: Answer['moved']): string[] =>
      list.map(
        ({ source, dest, before, after }) => `${source} ${dest} ${before.service} ${after.service} ${after.target}`
      )
    assert.deepEqual(short(answer.dropped), ['10.1.0.7 10.8.2.9 web null null'])
    assert.deepEqual(short(answer.moved), ['10.2.0.5 10.9.3.3 old new edge-a'])
    assert.deepEqual(short(answer.appeared), ['10.1.0.7 172.20.0.1 null web edge-b'])
    assert.equal(answer.same, 1)
    // The live cluster is as it was.
    assert.deepEqual([...api.operator.services.keys()].sort(), [ids.web, ids.old].sort())
  })

  it('leaves to a host what it is attached to, and says whose networks it does not know', async () => {
    const saved = join(dir, 'attached.json')
    await play(mesh([]), ...live(), '--save', saved)
    const change = mesh([{ ...web, routes: [{ dest_cidr: '10.0.0.0/8' }] }])
    const [recorded, flow] = [join(dir, 'attached.jsonl'), { peer: 'edge-a', source: '10.1.0.7', dest: '10.44.3.3' }]
    await writeFile(recorded, JSON.stringify(flow))
    const from = ['--from', saved, '--flow-log', recorded]
    const blind = await play(change, ...from)
    assert.deepEqual(blind.answer.networks_unknown.toSorted(), ['edge-a', 'edge-b'])
    assert.equal(blind.answer.appeared.length, 1)
    const cluster = JSON.parse(await readFile(saved, 'utf8')) as LiveCluster
    cluster.hosts = { [EDGE_A]: { addresses: ['10.44.0.1'], networks: ['10.44.0.0/16'], whole: true } }
    await writeFile(saved, JSON.stringify(cluster))
    const seeing = await play(change, ...from)
    assert.deepEqual([seeing.answer.networks_unknown, seeing.answer.appeared, seeing.answer.same], [['edge-b'], [], 1])
  })

  it('leads a flow in by the interface of its service', async () => {
    const own = await api.operator.createService({
      name: 'own',
      source_peer_id: EDGE_A,
      target_peer_id: EDGE_B,
      requires_interface: true
    })
    await api.operator.addRoutes(own.id, [{}])
    const recorded = join(dir, 'own.jsonl')
    const flow = { side: 'source', service: own.id, peer: EDGE_B, client: '10.1.0.7:4000', destination: '192.0.2.9:80' }
    await writeFile(recorded, JSON.stringify(flow))
    const from = ['--socket', api.socket, '--flow-log', recorded]
    try {
      const kept = await play(mesh([]), ...from)
      assert.deepEqual([kept.code, kept.answer.same, kept.answer.unexplained], [0, 1, 0])
      const gone = await play(mesh([{ ...web, routes: [{ dest_cidr: '0.0.0.0/0' }] }]), ...from, '--prune')
      assert.deepEqual(
        gone.answer.dropped.map(({ before, after }) => [before.service, after.fate]),
        [['own', 'untouched']]
      )
    } finally {
      await api.operator.deleteService(own.id)
    }
  })

  it('begins with a cluster that was kept, and prunes as apply does', async () => {
    const saved = join(dir, 'cluster.json')
    await play(mesh([]), ...live(), '--save', saved)
    const { code, answer } = await play(
      mesh([{ ...web, routes: [{ dest_cidr: '10.8.0.0/16' }] }]),
      '--from',
      saved,
      '--flow-log',
      flows,
      '--prune'
    )
    assert.equal(code, 1)
    assert.deepEqual(
      answer.changes.map(({ action, kind, service }) => `${action} ${kind} ${service}`),
      ['delete route web', 'delete service old']
    )
    assert.deepEqual([answer.dropped.length, answer.same], [1, 3])
  })

  it('refuses a change that apply would refuse, and says so when it does not know which flows', async () => {
    const bad = await play(mesh([{ ...web, target_peer: 'edge-z' }]), ...live())
    assert.notEqual(bad.code, 0)
    assert.match(bad.err, /edge-z/)
    const saved = join(dir, 'without.json')
    await play(mesh([]), ...live(), '--save', saved)
    const silent = await play(mesh([web]), '--from', saved)
    assert.equal(silent.code, 2)
    assert.match(silent.err, /kept without its flows; say which: --flow-log FILE/)
    assert.match((await play(mesh([web]), '--from', saved, '--listen', '1')).err, /--listen is for a live agent/)
    assert.match((await play(mesh([web]), '--socket', api.socket, '--listen', '0')).err, /--listen takes 1 to/)
    assert.match((await arctic(['sim', 'rehearse'])).err, /--file FILE is missing/)
    const lost = await play(mesh([]), ...live(), '--save', join(dir, 'no', 'such', 'place'))
    assert.equal(lost.code, 2)
    assert.match(lost.err, /cannot be written \(ENOENT\)/)
  })

  it('asks the members for the flows that they have on record, and keeps them with the cluster', async () => {
    const saved = join(dir, 'with.json')
    const change = mesh([{ ...web, routes: [{ dest_cidr: '10.8.0.0/16' }] }])
    const { answer } = await play(change, '--from', 'live', '--socket', api.socket, '--save', saved)
    const records = (JSON.parse(await readFile(saved, 'utf8')) as LiveCluster).records ?? []
    assert.ok(records.length > 0 && answer.flows > 0, `${records.length} records, ${answer.flows} flows`)
    const again = await play(change, '--from', saved)
    assert.deepEqual([again.code, again.answer.flows], [0, answer.flows])
  })

  it('asks them for all that goes through their hosts: UDP that a service carries, and what goes in the clear', async () => {
    const saved = join(dir, 'tracked.json')
    api.operator.track(EDGE_A, [
      { source: '10.1.0.7', dest: '10.8.2.9' },
      { source: '10.1.0.7', dest: '172.20.0.1' },
      { source: '10.1.0.7', dest: '192.0.2.1' }
    ])
    api.operator.track(EDGE_B, [{ source: '10.2.0.5', dest: '10.9.3.3' }])
    try {
      const change = mesh([{ ...web, routes: [{ dest_cidr: '10.8.1.0/24' }, { dest_cidr: '172.20.0.0/16' }] }])
      const { code, answer } = await play(change, '--from', 'live', '--socket', api.socket, '--save', saved)
      const pairs = (list: Answer['moved']): string[] => list.map(({ source, dest }) => `${source} ${dest}`)
      assert.equal(code, 1)
      assert.ok(pairs(answer.dropped).includes('10.1.0.7 10.8.2.9'))
      assert.deepEqual(pairs(answer.appeared), ['10.1.0.7 172.20.0.1'])
      assert.deepEqual(answer.connections_unknown, [])
      const again = await play(change, '--from', saved)
      assert.deepEqual(pairs(again.answer.appeared), ['10.1.0.7 172.20.0.1'])
    } finally {
      for (const peer of [EDGE_A, EDGE_B]) api.operator.track(peer, [])
    }
  })

  it('names the members that do not tell what goes through their hosts', async () => {
    api.operator.track(EDGE_B, null)
    try {
      const { answer } = await play(mesh([web]), '--from', 'live', '--socket', api.socket)
      assert.deepEqual(answer.connections_unknown, ['edge-b'])
      const file = join(dir, 'change.yaml')
      const { out } = await arctic(['sim', 'rehearse', '-f', file, '--socket', api.socket])
      assert.match(out, /^  what goes through their hosts is not known, or not wholly: edge-b$/m)
    } finally {
      api.operator.track(EDGE_B, [])
    }
  })

  it('carries nothing to a member that is not reachable', async () => {
    const saved = join(dir, 'away.json')
    await play(mesh([]), ...live(), '--save', saved)
    const cluster = JSON.parse(await readFile(saved, 'utf8')) as LiveCluster
    for (const peer of cluster.peers) if (peer.id === EDGE_A) peer.reachable = false
    await writeFile(saved, JSON.stringify(cluster))
    const [recorded, flow] = [join(dir, 'away.jsonl'), { peer: 'edge-b', source: '10.2.0.5', dest: '172.21.0.1' }]
    await writeFile(recorded, JSON.stringify(flow))
    const change = mesh([
      { name: 'more', source_peer: 'edge-b', target_peer: 'edge-a', routes: [{ dest_cidr: '172.21.0.0/16' }] }
    ])
    const { answer } = await play(change, '--from', saved, '--flow-log', recorded)
    assert.deepEqual([answer.unreachable, answer.appeared], [['edge-a'], []])
    assert.deepEqual(
      answer.dropped.map(({ before, after }) => [before.fate, after.fate]),
      [['untouched', 'refused']]
    )
  })

  it('listens to a live agent for flows that end', async () => {
    const data = { side: 'source', serviceId: ids.web, peer: EDGE_B, client: '10.1.0.9:1', destination: '10.8.1.1:2' }
    const telling = setInterval(() => api.operator.emit('flow.closed', data), 200)
    try {
      const { answer } = await play(mesh([web]), '--socket', api.socket, '--listen', '2')
      assert.equal(answer.flows, 1)
      assert.equal(answer.dropped.length, 1)
    } finally {
      clearInterval(telling)
    }
  })

  it('tells a person what happens in one line each', async () => {
    const file = join(dir, 'change.yaml')
    await writeFile(file, mesh([{ ...web, routes: [] }]))
    const { out } = await arctic(['sim', 'rehearse', '-f', file, ...live()])
    assert.match(out, /^2 changes, 4 recorded flows: 2 stay as they are, 0 move, 2 drop, 0 appear$/m)
    assert.match(out, /^  drop: 10\.1\.0\.7 to 10\.8\.2\.9: web to edge-b -> left alone$/m)
  })
})
