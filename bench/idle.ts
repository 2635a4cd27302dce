/**
 * What flows cost that are open and silent: `node bench/idle.ts [--flows 50000] [--write]`
 *
 * Engines of every pair of hosts before anything flows; then so many flows, over as many pairs as one process's descriptors
 * make necessary (two a flow and engine), each proven by a byte when it is made and again at the end. HAProxy with TLS
 * beside it, three fresh pairs of processes. Takes two to four minutes.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { Lab } from '../lab/lab.ts'
import type { Host } from '../lab/host.ts'
import type { Peer } from '../lab/peer.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import type { Task } from '../lab/task.ts'
import type { TwoSites } from '../lab/topology.ts'
import { idleFlows, tcpServer } from '../lab/traffic/tools.ts'
import { cpuSeconds } from './cpu.ts'
import { entry, exit } from './haproxy.ts'
import { flowsPerPair, flowsPerProxy, idleSeconds, roundsDefault } from './limits.ts'
import { pssBytes, rssBytes } from './memory.ts'
import { carry, pairOn } from './pair.ts'
import { median } from './rounds.ts'
import { replaceSection } from './section.ts'
import { enginePid } from './tcp.ts'
import { benchSites, MESH } from './topology.ts'

const PORT = 7001
const PROXY = { entry: 6001, exit: 6002 }
const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))

interface Cost {
  /** Bytes per flow. */
  entry: number
  exit: number
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { flows: { type: 'string', default: '50000' }, write: { type: 'boolean', default: false } }
  })
  const wanted = Number(values.flows)
  ensurePrivilege()
  const labs: Lab[] = []
  try {
    const pairs: Pair[] = []
    // All hosts first: an agent that starts beside tens of thousands of flows being made starts slowly.
    for (let left = wanted; left > 0; left -= flowsPerPair) {
      const lab = await Lab.create({ prefix: 'arctic-idle' })
      labs.push(lab)
      pairs.push(await Pair.up(lab))
    }
    // Before our flows have all sorts of ports.
    const proxy = await haproxyCost(pairs[0]!.sites)
    for (const [index, pair] of pairs.entries()) {
      await pair.hold(Math.min(wanted - index * flowsPerPair, flowsPerPair))
      process.stderr.write(`${index + 1}: ${pair.held} held, ${JSON.stringify(pair.cost)}\n`)
    }
    const upkeep = await Promise.all(pairs.map((pair) => pair.upkeep()))
    for (const pair of pairs) process.stderr.write(`ended: ${JSON.stringify(pair.ends())}\n`)
    const alive = (await Promise.all(pairs.map((pair) => pair.alive()))).reduce((sum, one) => sum + one, 0)
    const kB = (bytes: number): string => (bytes / 1024).toFixed(2)
    const mb = (bytes: number[]): string => (Math.max(...bytes) / 1e6).toFixed(1)
    const middle = (costs: Cost[], side: keyof Cost): string => kB(median(costs.map((cost) => cost[side])))
    const costs = pairs.map(({ cost }) => cost)
    const sum = (of: (one: Upkeep) => number): number => upkeep.reduce((all, one) => all + of(one), 0)
    const text = `## Idle flows

Made by \`node bench/idle.ts --flows ${wanted}\` on ${isoTime(systemClock.now()).slice(0, 10)}: ${alive} of ${wanted} flows held and alive at the end, over
${pairs.length} pairs of hosts (a process may open ${flowsPerPair * 2} descriptors and some here). Memory of the two processes that carry them, without the
kernel's; medians over the pairs, and over ${roundsDefault} fresh pairs of processes with ${flowsPerProxy} flows for HAProxy.

| | kB per idle flow, entry | exit |
| --- | ---: | ---: |
| arctic (Pegasus) | ${middle(costs, 'entry')} | ${middle(costs, 'exit')} |
| HAProxy, TLS 1.3, 64 KiB buffers | ${middle(proxy, 'entry')} | ${middle(proxy, 'exit')} |

Resident before anything flows, the most of all pairs: Pegasus ${mb(pairs.flatMap(({ idle }) => idle.pegasus))} MB, Tempest ${mb(pairs.flatMap(({ idle }) => idle.tempest))} MB.

| all ${wanted} flows, while nothing is said for ${idleSeconds} s | entry engines | exit engines |
| --- | ---: | ---: |
| CPU, % of a core | ${(100 * sum(({ cpu }) => cpu[0])).toFixed(2)} | ${(100 * sum(({ cpu }) => cpu[1])).toFixed(2)} |
| keepalives that the kernel sends for them, per second | ${sum(({ keepalives }) => keepalives[0]).toFixed(0)} | ${sum(({ keepalives }) => keepalives[1]).toFixed(0)} |

The kernel's work for keepalives is in neither figure: it belongs to no process.`
    process.stdout.write(`${text}\n`)
    if (values.write) replaceSection(RESULTS, 'idle-flows', text)
    if (alive !== wanted) process.exitCode = 1
  } finally {
    for (const lab of labs) lab.close()
  }
}

/** What idle flows cost per second, at the entry and at the exit. */
interface Upkeep {
  /** CPU seconds of the engine. */
  cpu: [number, number]
  keepalives: [number, number]
}

/** Two sites with their agents. */
class Pair {
  readonly sites: TwoSites
  readonly idle: Record<'pegasus' | 'tempest', number[]>
  readonly #source: Peer
  readonly #engines: readonly [entry: number, exit: number]
  cost: Cost = { entry: Number.NaN, exit: Number.NaN }
  /** Flows that were made. */
  held = 0
  #flows: Task | null = null

  private constructor(sites: TwoSites, source: Peer, engines: readonly [number, number], idle: Pair['idle']) {
    this.sites = sites
    this.#source = source
    this.#engines = engines
    this.idle = idle
  }

  static async up(lab: Lab): Promise<Pair> {
    const sites = await benchSites(lab)
    const peers = await pairOn(sites)
    await carry(peers, `${MESH}/32`)
    await tcpServer(sites.server, MESH, { echo: PORT })
    const pids = async (engine: string): Promise<[number, number]> => [
      await enginePid(peers[0], engine),
      await enginePid(peers[1], engine)
    ]
    const [pegasus, tempest] = [await pids('pegasus'), await pids('tempest')]
    const idle = { pegasus: pegasus.map(rssBytes), tempest: tempest.map(rssBytes) }
    return new Pair(sites, peers[0], pegasus, idle)
  }

  async hold(count: number): Promise<void> {
    const before = this.#engines.map(pssBytes)
    this.#flows = await idleFlows(this.sites.client, MESH, PORT, count)
    this.held = Number(this.#flows.json().find(({ event }) => event === 'held')?.['count'])
    await systemClock.sleep(2000)
    const [entered, left] = this.#engines.map((pid, i) => (pssBytes(pid) - before[i]!) / count)
    this.cost = { entry: entered!, exit: left! }
  }

  async upkeep(): Promise<Upkeep> {
    const { edgeA, edgeB } = this.sites
    const now = (): Promise<number[]> =>
      Promise.all([
        ...this.#engines.map((pid) => Promise.resolve(cpuSeconds([pid]))),
        ...[edgeA, edgeB].map((host) => keepalives(host))
      ])
    const before = await now()
    await systemClock.sleep(idleSeconds * 1000)
    const after = await now()
    const perSecond = (at: number): number => (after[at]! - before[at]!) / idleSeconds
    return { cpu: [perSecond(0), perSecond(1)], keepalives: [perSecond(2), perSecond(3)] }
  }

  /** Why flows have ended that should be idle, as the source tells it. */
  ends(): Record<string, number> {
    const ends: Record<string, number> = {}
    for (const { message, reason } of this.#source.log()) {
      if (message === 'flow closed') ends[String(reason)] = (ends[String(reason)] ?? 0) + 1
    }
    return ends
  }

  /** How many of the flows carry a byte there and back now. */
  async alive(): Promise<number> {
    this.#flows!.kill('SIGUSR2')
    const { count } = await this.#flows!.says((line) => line['event'] === 'alive', { timeoutMs: 120_000 })
    return Number(count)
  }
}

/** Keepalive probes that a host has sent so far. */
async function keepalives(host: Host): Promise<number> {
  const [names = '', values = ''] = (await host.exec(['cat', '/proc/net/netstat'])).split('\n')
  return Number(values.split(' ')[names.split(' ').indexOf('TCPKeepAlive')])
}

async function haproxyCost(sites: TwoSites): Promise<Cost[]> {
  const costs: Cost[] = []
  for (let round = 0; round < roundsDefault; round++) {
    const out = await exit(sites.edgeB, [{ port: PROXY.exit, to: { address: MESH, port: PORT } }], true)
    const to = { address: '10.9.0.2', port: PROXY.exit }
    const into = await entry(sites.edgeA, [{ port: PROXY.entry, to }], true)
    const pids = [into.pid, out.pid]
    const before = pids.map(pssBytes)
    const flows = await idleFlows(sites.client, '10.1.0.1', PROXY.entry, flowsPerProxy)
    await systemClock.sleep(2000)
    const [entered, left] = pids.map((pid, i) => (pssBytes(pid) - before[i]!) / flowsPerProxy)
    costs.push({ entry: entered!, exit: left! })
    for (const task of [flows, into, out]) await task.stop()
  }
  return costs
}

await main()
