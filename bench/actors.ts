import { rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { ActorJson } from '../src/actors/operator/operator.ts'
import { FakeLab, type FakeAgent } from '../test/actors/fakes/agents.ts'
import { member, peerId, service, ulid } from '../test/actors/fakes/records.ts'
import { cluster, startHost, type Host } from '../test/mesh/host.ts'
import { actorPeers, askSeconds, asksAlone, asksWarmUp } from './limits.ts'
import { cpuModel } from './cpu.ts'

/**
 * What actors cost: services with their routes, spread over the tunnels to many peers, on one agent whose data plane is in
 * memory; and what it takes to ask an actor of another peer, over libp2p on loopback, both ends in this process.
 *
 *   node bench/actors.ts [--services 1000,5000,10000] [--only agent|ask]
 */
const { values } = parseArgs({
  options: { services: { type: 'string', default: '1000,5000,10000,50000' }, only: { type: 'string' } }
})

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const out = (text: string): void => void process.stdout.write(`${text}\n`)

out(`Node ${process.version}, ${cpuModel()}\n`)
if (values.only !== 'ask') {
  await onAgent(200)
  out('| services | actors | start, µs of CPU each | update | stop | bytes per actor | left after stop |')
  out('| ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  for (const count of values.services.split(',').map(Number)) {
    const { actors, start, update, stop, bytes, left } = await onAgent(count)
    const each = (ms: number): string => ((ms * 1000) / count).toFixed(0)
    out(`| ${count} | ${actors} | ${each(start)} | ${each(update)} | ${each(stop)} | ${bytes.toFixed(0)} | ${left} |`)
  }
  out('')
}
if (values.only !== 'agent') {
  const { p50, p99, perSecond } = await remoteAsks()
  out('| remote ask p50 | p99 | asks per second, 64 at a time |')
  out('| ---: | ---: | ---: |')
  out(`| ${p50.toFixed(2)} ms | ${p99.toFixed(2)} ms | ${perSecond.toFixed(0)} |`)
}

interface Figures {
  actors: number
  /** Milliseconds of CPU for all of them, which does not grow with what else the machine does. */
  start: number
  update: number
  stop: number
  bytes: number
  /** Service and route actors that live on after all services have gone. */
  left: number
}

async function onAgent(count: number): Promise<Figures> {
  const lab = new FakeLab()
  const agent = await lab.agent('a')
  const { document } = lab
  const others = Array.from({ length: actorPeers }, (_, i) => `${i}-other`)
  for (const name of others) document.members.push(member(name))
  await settled(lab, agent)
  const before = heap()
  const idle = census(await agent.actors.operator.actors()).length
  const timed = async (change: () => void): Promise<number> => {
    const began = process.cpuUsage()
    change()
    document.changed()
    await settled(lab, agent)
    const { user, system } = process.cpuUsage(began)
    return (user + system) / 1_000
  }

  const start = await timed(() => {
    for (let n = 1; n <= count; n++) {
      const record = service(n, 'a', others[n % others.length]!)
      document.services.set(record.id, { ...record, target_peer_id: peerId(others[n % others.length]!) })
      const route = { id: ulid(1_000_000 + n), service_id: record.id, source_cidr: null, priority: 100 }
      document.routes.set(route.id, { ...route, dest_cidr: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32` })
    }
  })
  const live = census(await agent.actors.operator.actors()).length - idle
  const bytes = (heap() - before) / live
  const update = await timed(() => {
    for (const [id, record] of document.services) document.services.set(id, { ...record, bandwidth_limit_mbps: 7 })
  })
  const stop = await timed(() => {
    document.services.clear()
    document.routes.clear()
  })
  const left = census(await agent.actors.operator.actors()).filter((path) => /^(service|route):/.test(path)).length
  await lab.stop()
  return { actors: live, start, update, stop, bytes, left }
}

/** Until everything that was wished for has been applied and told. */
async function settled(lab: FakeLab, agent: FakeAgent): Promise<void> {
  await lab.clock.advance(50)
  for (let told = -1; told !== agent.dataplane.told.length;) {
    told = agent.dataplane.told.length
    await lab.clock.advance(50)
  }
}

function heap(): number {
  collect()
  return process.memoryUsage().heapUsed
}

function census(tree: ActorJson): string[] {
  const paths: string[] = []
  const waiting = [tree]
  for (const { path, children } of waiting) {
    paths.push(path)
    for (const child of children) waiting.push(child)
  }
  return paths
}

async function remoteAsks(): Promise<{ p50: number; p99: number; perSecond: number }> {
  const root = await mkdtemp(join(tmpdir(), 'arctic-bench-'))
  const hosts: Host[] = []
  try {
    for (const name of ['a', 'b']) hosts.push(await startHost(root, name))
    await cluster(hosts)
    const [a, b] = hosts as [Host, Host]
    const context = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`field_${i}`, 'some text of an actor']))
    const nothing = (): (() => void) => () => {}
    b.mesh.actors.serve({
      ask: (what, path) => ({ what, path, context }),
      send: async () => null,
      watch: nothing,
      monitor: nothing
    })
    const ask = (): Promise<unknown> => a.mesh.actors.ask(b.id, { what: 'inspect', path: 'service:web' })
    for (let i = 0; i < asksWarmUp; i++) await ask()
    const took: number[] = []
    for (let i = 0; i < asksAlone; i++) {
      const began = performance.now()
      await ask()
      took.push(performance.now() - began)
    }
    took.sort((x, y) => x - y)
    let asked = 0
    const began = performance.now()
    const end = began + askSeconds * 1000
    const asker = async (): Promise<void> => {
      while (performance.now() < end) {
        await ask()
        asked++
      }
    }
    await Promise.all(Array.from({ length: 64 }, asker))
    const seconds = (performance.now() - began) / 1000
    const at = (q: number): number => took[Math.floor(q * took.length)] ?? Number.NaN
    return { p50: at(0.5), p99: at(0.99), perSecond: asked / seconds }
  } finally {
    for (const host of hosts) await host.stop()
    await rm(root, { recursive: true, force: true })
  }
}
