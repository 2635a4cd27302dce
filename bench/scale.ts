/**
 * What a change costs in a large state: `node bench/scale.ts [--services 1000,10000] [--routes 100000]`.
 *
 * For each size, of a cluster in which each service has a route, once with all of them this host's and once with 100 of them:
 * CPU of the agent's thread for one route that gets another destination: the mean without the slowest and the quickest tenth, and the slowest
 * one. What is made once for an eighth of the history, a snapshot, or once for some MB, a collection, is in that one.
 *
 * 1. `agent`: written, signed, folded, shown; then reconciled until the data plane is told.
 * 2. `host`: what the kernel's data plane computes of it before it asks the kernel and the engines: devices, tables, ruleset, the
 *    engines' states, and what of them the kernel and the engine are told.
 * 3. `file`: the text of the file that says what the engine was last told. It is made at most every two seconds.
 *
 * Then a cluster with so many routes, 1,000 in a service: loaded from the disk, and compiled from nothing. Loading
 * the ruleset into the kernel and an engine's own work are no part of it (`bench/apply.ts` has the latter).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { desiredFor } from '../src/actors/reconcile/desired.ts'
import { startActors } from '../src/actors/start.ts'
import { systemClock } from '../src/clock.ts'
import { Replica } from '../src/crdt/replica.ts'
import { signerFromSeed, type Signer } from '../src/crdt/signer.ts'
import type { AppliedState, DesiredState } from '../src/dataplane/desired.ts'
import { engineState, type EngineState } from '../src/dataplane/engine-state.ts'
import type { HostFacts } from '../src/dataplane/interfaces.ts'
import { createMarks } from '../src/dataplane/marks.ts'
import { AppliedMemory } from '../src/dataplane/outcome.ts'
import { pegasusChange } from '../src/dataplane/pegasus-change.ts'
import { GENERAL_LISTENER, PegasusMemory, pegasusState } from '../src/dataplane/pegasus.ts'
import { PlanMemory } from '../src/dataplane/plan-memory.ts'
import { onlyTakesAway, planDevices, planSteering } from '../src/dataplane/plan.ts'
import { parseAddress, parsePrefix, type Address, type Prefix } from '../src/dataplane/prefix.ts'
import { changesOfParts } from '../src/dataplane/ruleset-change.ts'
import { objectText } from '../src/dataplane/ruleset-objects.ts'
import { RulesetMemory, rulesetParts, type Ruleset } from '../src/dataplane/ruleset.ts'
import { silentLogger } from '../src/log.ts'
import { systemRandom } from '../src/random.ts'
import { FakeDataplane } from '../test/actors/fakes/dataplane.ts'
import { FakeMesh, FakeWire } from '../test/actors/fakes/mesh.ts'
import { record } from './replica.ts'

const { values } = parseArgs({
  options: { services: { type: 'string', default: '1000,10000' }, routes: { type: 'string', default: '100000' } }
})
/** The clock of a thread may be as coarse as a tick of the kernel, so that only many changes tell what one costs. */
const CHANGES = 41
const root = await mkdtemp(join(tmpdir(), 'arctic-scale-'))
const SIGNERS = [1, 2, 3].map((n) => signerFromSeed(new Uint8Array(32).fill(n)))
const signer = (n: number): Signer => SIGNERS[n - 1] as Signer
const open = (dir: string, n: number): Promise<Replica> =>
  Replica.open({ dir: join(root, dir), signer: signer(n), clock: systemClock, random: systemRandom, log: silentLogger })
const out = (text: string): void => void process.stdout.write(`${text}\n`)

/** A host with one interface. */
const FACTS: HostFacts = {
  links: [],
  own: [parseAddress('192.168.0.2') as Address],
  attached: [parsePrefix('192.168.0.0/24') as Prefix],
  ways: [{ network: parsePrefix('0.0.0.0/0') as Prefix, device: 'eth0', direct: false }]
}

/** CPU of this thread, ms. */
function cpu(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** What the kernel's data plane computes of a state, without a kernel. */
class HostPlan {
  readonly #marks = createMarks()
  #indexes: ReadonlyMap<string, number> = new Map()
  #ports: ReadonlyMap<string, number> = new Map([[GENERAL_LISTENER, 40_000]])
  #parts: Ruleset | null = null
  #told: EngineState | null = null
  readonly #memory = {
    plan: new PlanMemory(),
    pegasus: new PegasusMemory(),
    ruleset: new RulesetMemory(),
    applied: new AppliedMemory()
  }
  #desired: DesiredState | null = null
  /** Length of what the kernel and the engine are told, bytes. */
  bytes = { ruleset: 0, engine: 0 }

  /** As it stands in the file, characters. */
  file = (): number => this.#told?.text().length ?? 0

  of(desired: DesiredState): AppliedState['services'] {
    const marks = this.#marks
    const { plan: memory } = this.#memory
    const plan = planDevices(desired, { known: this.#indexes, facts: FACTS, marks, parent: null, memory })
    this.#indexes = plan.indexes
    const steering = planSteering(desired, { plan, failedDevices: new Set(), facts: FACTS, marks, memory })
    onlyTakesAway(this.#desired, desired)
    this.#desired = desired
    const keys = { before: null, known: new Set<string>() }
    const [ports, devices] = [this.#ports, steering.serviceDevices]
    const common = { dataListen: '0.0.0.0:7947', bypassMark: marks.bypass, kcpCongestionControl: true, keys }
    const { table } = steering
    const state = pegasusState(desired, { ...common, table, devices, ports, memory: this.#memory.pegasus })
    const told = engineState(state, pegasusChange)
    const engine = (this.#told == null ? null : told.since(this.#told)) ?? told.text()
    this.#told = told
    const parts = rulesetParts(steering.steering(ports, GENERAL_LISTENER), this.#memory.ruleset)
    const commands = this.#parts == null ? null : changesOfParts(this.#parts, parts)
    const ruleset = commands ?? parts.flat().map((object) => objectText(object, new Map()))
    this.#parts = parts
    this.bytes = { ruleset: ruleset.join('\n').length, engine: engine.length }
    return this.#memory.applied.services(desired, {
      planned: plan.failures,
      deviceFailures: new Map(),
      engineErrors: [],
      facts: FACTS,
      forwarding: { ipv4: new Set(), ipv6: null },
      parentTroubles: new Map(),
      returnPaths: new Map(),
      cutOff: new Map()
    })
  }
}

/** A data plane without a kernel and engines; what it computes for them is counted apart. */
class CountedDataplane extends FakeDataplane {
  readonly plan = new HostPlan()
  hostMs = 0
  #applies = 0

  override async apply(desired: DesiredState): Promise<AppliedState> {
    const began = cpu()
    const services = this.plan.of(desired)
    this.hostMs += cpu() - began
    const applied = { generation: ++this.#applies, services, failure: null }
    this.emit({ type: 'applied', applied })
    return applied
  }

  get applies(): number {
    return this.#applies
  }
}

/** Its reports are for nobody. */
class QuietMesh extends FakeMesh {
  override publishReport(): void {}
}

async function founded(dir: string): Promise<Replica> {
  const a = await open(dir, 1)
  await a.init({ name: 'bench', record: record(a.self) })
  const token = a.createInvite({ ttlMs: 3_600_000, uses: 2, role: 'admin', addresses: ['/ip4/127.0.0.1/tcp/7946'] })
  for (const n of [2, 3]) {
    await a.admit({ token, peer: signer(n).peerId, name: `peer-${n}` })
    // What a host steers depends on where its peers are reached, which only they say.
    const other = await open(`${dir}-${n}`, n)
    await other.adopt({ ...a.bootstrap(), token })
    await other.putPeer({ ...record(other.self), name: `peer-${n}` })
    for (const chunk of other.missing(a.vector(), Infinity)) await a.receive(chunk, other.self)
    await other.close()
  }
  return a
}

/** Without a tenth at either end. */
function middle(times: readonly number[]): number {
  const cut = Math.floor(times.length / 10)
  const kept = times.toSorted((a, b) => a - b).slice(cut, times.length - cut)
  return kept.reduce((sum, ms) => sum + ms, 0) / kept.length
}

const network = (i: number): string => `${10 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`

/** Services with a route each, `own` of them from this host. */
async function filled(dir: string, services: number, own: number): Promise<Replica> {
  const a = await founded(dir)
  const add = async (i: number): Promise<void> => {
    const source = i < own ? a.self : signer(2).peerId
    const service = { source_peer_id: source, target_peer_id: signer(3).peerId, name: `s${i}` }
    const { id } = await a.createService(service)
    await a.addRoutes(id, [{ dest_cidr: network(i) }])
  }
  for (let i = 0; i < services; i += 100) {
    await Promise.all(Array.from({ length: Math.min(100, services - i) }, (_, j) => add(i + j)))
  }
  return a
}

/** Of one change: CPU of this thread in the agent's part and the host's. */
async function changes(
  services: number,
  own: number
): Promise<{ agent: number; slowest: number; host: number; file: number; bytes: HostPlan['bytes'] }> {
  const a = await filled(`${services}-${own}`, services, own)
  const dataplane = new CountedDataplane()
  const mesh = new QuietMesh(a.self, new FakeWire())
  const actors = startActors({
    replica: a,
    mesh,
    dataplane,
    clock: systemClock,
    log: silentLogger,
    version: '0.1.0',
    stateDir: '/nowhere',
    selfRecord: () => record(a.self),
    listen: () => ({ mesh: [], data: '', api: null, socket: '', api_fingerprint: null }),
    onFatal: (error) => {
      throw error
    }
  })
  const settled = async (ms: number): Promise<void> => {
    for (let seen = -1; seen !== dataplane.applies; await systemClock.sleep(ms)) seen = dataplane.applies
  }
  await settled(2000)
  const mine = [...a.view().services.values()].filter(({ source_peer_id: source }) => source === a.self)
  const times = { agent: [] as number[], host: [] as number[], file: [] as number[] }
  for (let n = 0; n < CHANGES; n++) {
    const service = mine[Math.floor((n * mine.length) / CHANGES)] as (typeof mine)[number]
    const route = a.view().routesOf.get(service.id)?.[0]
    if (route == null) throw new Error('a service has no route')
    const [began, before, applies] = [cpu(), dataplane.hostMs, dataplane.applies]
    await a.updateRoute(service.id, route.id, { dest_cidr: `172.16.${n}.0/24` })
    await settled(300)
    if (dataplane.applies !== applies + 1)
      throw new Error(`one change was applied ${dataplane.applies - applies} times`)
    const host = dataplane.hostMs - before
    times.host.push(host)
    times.agent.push(cpu() - began - host)
    const made = cpu()
    dataplane.plan.file()
    times.file.push(cpu() - made)
  }
  await actors.stop()
  await a.close()
  const slowest = Math.max(...times.agent)
  return {
    agent: middle(times.agent),
    slowest,
    host: middle(times.host),
    file: middle(times.file),
    bytes: dataplane.plan.bytes
  }
}

async function manyRoutes(routes: number): Promise<void> {
  const a = await founded('routes')
  for (let from = 0; from < routes; from += 1000) {
    const peers = { source_peer_id: a.self, target_peer_id: signer(2).peerId }
    const { id } = await a.createService({ ...peers, name: `s${from}` })
    const inputs = Array.from({ length: Math.min(1000, routes - from) }, (_, i) => ({ dest_cidr: network(from + i) }))
    await a.addRoutes(id, inputs)
  }
  await a.close()
  const timed = async <T>(name: string, work: () => T | Promise<T>): Promise<T> => {
    const began = [performance.now(), cpu()] as const
    const found = await work()
    out(`| ${name} | ${(performance.now() - began[0]).toFixed(0)} | ${(cpu() - began[1]).toFixed(0)} |`)
    return found
  }
  out(`\n| ${routes} routes | ms | CPU ms of the thread |\n| --- | ---: | ---: |`)
  const again = await timed('load from the disk', () => open('routes', 1))
  const desired = await timed('desired state of this host', () => desiredFor(again.self, again.view()))
  const plan = new HostPlan()
  await timed('tables, ruleset and the state of the engine', () => plan.of(desired))
  out(
    `\nruleset ${plan.bytes.ruleset} bytes, state of the engine ${plan.bytes.engine} bytes, RSS ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`
  )
  await again.close()
}

try {
  out(
    '| services + routes | of this host | agent, CPU ms | the slowest | host, CPU ms | file, CPU ms | to nft, bytes | to the engine, bytes |'
  )
  out('| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  for (const services of values.services.split(',').map(Number)) {
    for (const own of [100, services]) {
      const { agent, slowest, host, file, bytes } = await changes(services, own)
      const figures = [
        agent.toFixed(1),
        slowest.toFixed(0),
        host.toFixed(2),
        file.toFixed(1),
        bytes.ruleset,
        bytes.engine
      ]
      out(`| ${[services, own, ...figures].join(' | ')} |`)
    }
  }
  if (Number(values.routes) > 0) await manyRoutes(Number(values.routes))
} finally {
  await rm(root, { recursive: true, force: true })
}
