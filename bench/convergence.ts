/**
 * How long until everybody has a change, by number of peers, in the simulator: no network, no root, one process.
 *
 *   node --max-old-space-size=12000 bench/convergence.ts
 *                                                 10 to 1,000 peers, 4 GB; writes its section of bench/RESULTS.md and the plot
 *   node bench/convergence.ts --peers 10,30 -n 5  prints only
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import type { Replica } from '../src/crdt/replica.ts'
import { lightCluster } from '../sim/host/light-cluster.ts'
import { shareSignatures } from '../sim/host/signatures.ts'
import { operatorOf, World } from '../sim/world.ts'
import { convergenceChanges, convergenceLoss, convergencePeers, wholeAgents } from './limits.ts'
import { plot } from './plot.ts'
import { replaceSection } from './section.ts'

interface Peer {
  replica: Replica
  isAdmin: boolean
}

export interface Convergence {
  agents: 'whole' | 'light'
  peers: number
  loss: number
  /** Virtual ms from a change's acknowledgement until the middle peer, 99 % of them, and the last one had it. */
  p50: number
  p99: number
  last: number
  /** Peers × virtual seconds that a second of this machine's time brings. */
  peerSecondsPerSecond: number
  /** Wall ms per change that arrived at a peer. */
  msPerDelivery: number
  rssMegabytes: number
}

/** So many changes by random admins, one after the other, each until all have it. */
export function measure(
  agents: Convergence['agents'],
  peers: number,
  loss: number,
  changes: number
): Promise<Convergence> {
  const world = new World(`convergence ${agents} ${peers} ${loss}`, { agents })
  const endSharing = shareSignatures()
  return world.scheduler.run(agents === 'light' ? light() : whole()).finally(endSharing)

  async function light(): Promise<Convergence> {
    const cluster = await lightCluster(world, peers)
    const result = await spread(
      cluster.map(({ agent, id }) => ({
        replica: agent!.replica,
        isAdmin: agent!.replica.view().members.get(id)?.role === 'admin'
      }))
    )
    await Promise.all(cluster.map((host) => host.stop('remove')))
    return result
  }

  async function whole(): Promise<Convergence> {
    const first = await world.found('whole')
    for (let i = 1; i < peers; i++) await world.join(first, i === 1 ? 'admin' : 'member')
    operatorOf(first)
    const result = await spread(
      world.hosts.map(({ agent, id }) => ({ replica: agent!.replica, isAdmin: world.admins.has(id) }))
    )
    await Promise.all(world.hosts.map((host) => host.stop('remove')))
    return result
  }

  async function spread(cluster: readonly Peer[]): Promise<Convergence> {
    const random = world.random.fork('changes')
    // Connecting brings syncs of its own.
    await world.scheduler.sleep(5_000)
    world.wire.lay(() => ({ loss }))
    const delays: number[] = []
    const last: number[] = []
    const began = { wall: performance.now(), virtual: world.now }
    for (let i = 0; i < changes; i++) {
      const author = random.pick(cluster.filter(({ isAdmin }) => isAdmin))
      const [source, target] = random.sample([...author.replica.view().members.keys()].sort(), 2)
      const arrivals = await arrivalsOf(world, cluster, author, () =>
        author.replica.createService({
          name: `change-${i}`,
          source_peer_id: source ?? '',
          target_peer_id: target ?? ''
        })
      )
      delays.push(...arrivals)
      last.push(arrivals.at(-1) ?? 0)
    }
    const wall = performance.now() - began.wall
    delays.sort((a, b) => a - b)
    last.sort((a, b) => a - b)
    const at = (list: number[], share: number): number =>
      list[Math.min(list.length - 1, Math.floor(list.length * share))] ?? 0
    return {
      agents,
      peers,
      loss,
      p50: at(delays, 0.5),
      p99: at(delays, 0.99),
      last: at(last, 0.5),
      peerSecondsPerSecond: (peers * (world.now - began.virtual)) / wall,
      msPerDelivery: wall / delays.length,
      rssMegabytes: process.memoryUsage().rss / 2 ** 20
    }
  }
}

/** Virtual ms from the acknowledgement until each other peer had it on its disk, ascending. */
async function arrivalsOf(
  world: World,
  cluster: readonly Peer[],
  author: Peer,
  write: () => Promise<{ id: string }>
): Promise<number[]> {
  const seen = new Map<Peer, Map<string, number>>()
  const unsubscribe = cluster.map((peer) => {
    const at = new Map<string, number>()
    seen.set(peer, at)
    return peer.replica.onView(({ services }, before) => {
      if (services !== before.services) for (const id of services.keys()) if (!at.has(id)) at.set(id, world.now)
    })
  })
  const { id } = await write()
  const acknowledged = world.now
  const others = cluster.filter((peer) => peer !== author)
  while (others.some((peer) => seen.get(peer)?.has(id) !== true)) await world.scheduler.sleep(10)
  for (const release of unsubscribe) release()
  return others.map((peer) => (seen.get(peer)?.get(id) ?? 0) - acknowledged).sort((a, b) => a - b)
}

const HERE = fileURLToPath(new URL('.', import.meta.url))

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { peers: { type: 'string' }, changes: { type: 'string', short: 'n' } } })
  const sizes = values.peers?.split(',').map(Number) ?? convergencePeers
  const changes = Number(values.changes ?? convergenceChanges)
  const results: Convergence[] = []
  for (const agents of ['whole', 'light'] as const) {
    for (const peers of sizes) {
      if (agents === 'whole' && !wholeAgents.includes(peers)) continue
      for (const loss of [0, convergenceLoss]) {
        const result = await measure(agents, peers, loss, changes)
        results.push(result)
        process.stderr.write(`${row(result)}\n`)
      }
    }
  }
  const date = isoTime(systemClock.now()).slice(0, 10)
  const text = section(results, changes, date)
  process.stdout.write(text)
  if (values.peers != null || values.changes != null) return
  mkdirSync(`${HERE}plots`, { recursive: true })
  const series = [0, convergenceLoss].map((loss) => ({
    name: loss === 0 ? 'no loss' : `${loss * 100} % loss`,
    points: results
      .filter((one) => one.agents === 'light' && one.loss === loss)
      .map(({ peers, last }) => [peers, last] as const)
  }))
  writeFileSync(`${HERE}plots/convergence.svg`, plot(series, { x: 'peers', y: 'ms until the last peer has a change' }))
  replaceSection(`${HERE}RESULTS.md`, 'convergence', text)
}

const HEAD =
  '| agents | peers | loss | p50 ms | p99 ms | last peer ms | simulated peer-seconds per second | wall ms per delivery | RSS MB |\n' +
  '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |'

const row = ({ agents, peers, loss, p50, p99, last, ...cost }: Convergence): string =>
  `| ${agents} | ${peers} | ${loss * 100} % | ${p50.toFixed(0)} | ${p99.toFixed(0)} | ${last.toFixed(0)} | ` +
  `${cost.peerSecondsPerSecond.toFixed(0)} | ${cost.msPerDelivery.toFixed(2)} | ${cost.rssMegabytes.toFixed(0)} |`

const section = (results: readonly Convergence[], changes: number, date: string): string =>
  `## Convergence, simulated

Made by \`node bench/convergence.ts\` on ${date}: ${changes} changes one after the other, each until every peer has it on its
disk; virtual ms from the author's acknowledgement. Ways between hosts take 2 to 44 ms each way, a flush to disk 0.5 to 4 ms.
"last peer" is the median of the ${changes} changes' last arrivals.

${HEAD}
${results.map(row).join('\n')}

![Convergence by number of peers](plots/convergence.svg)

"whole" are all of an agent but libp2p and the kernel, each connected to each. "light" are replica, gossip and anti-entropy
alone, each connected to about 16 others and without beats; nobody but the first has a record of itself. Whole agents hear a change
once, from its author, and fetch what was lost when a beat shows it; to light ones it comes by another way, or else by anti-entropy
1 to 5 s later. Wall figures depend on what else the machine does and count the whole simulated world; RSS is the process's, which
keeps what earlier rows took.
`

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
