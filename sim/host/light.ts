import { Replica } from '../../src/crdt/replica.ts'
import { silentLogger } from '../../src/log.ts'
import { ChangeGossip } from '../../src/mesh/gossip.ts'
import { AntiEntropy } from '../../src/mesh/sync/anti-entropy.ts'
import { OPEN_PROTOCOLS } from '../../src/mesh/mesh-runtime.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { SimNetwork } from '../net/network.ts'
import { operatorOf, type World } from '../world.ts'
import { HostClock } from './clock.ts'
import type { SimHost } from './host.ts'

/**
 * A peer of which only the replicated state lives: replica, gossip and anti-entropy as the product has them, without
 * presence, actors and data plane, and connected to some others instead of all. What a thousand of fit into a process.
 */
export interface LightPeer {
  host: SimHost
  clock: HostClock
  network: SimNetwork
  replica: Replica
  gossip: ChangeGossip
  sync: AntiEntropy
}

/** So many peers dial this many others each, besides the next one. */
const dialsEach = 7
/** One of so many is an admin. */
const adminEach = 10

/** A cluster of so many light peers, connected and in agreement; the first was founded and has let in all others. */
export async function lightCluster(world: World, peers: number): Promise<LightPeer[]> {
  const first = await world.found('light')
  const others = Array.from({ length: peers - 1 }, () => world.host())
  for (const role of ['member', 'admin'] as const) {
    const ofRole = others.filter(({ index }) => (index % adminEach === 1) === (role === 'admin'))
    if (ofRole.length === 0) continue
    const { token } = await operatorOf(first).clusterInvite({ ttl_seconds: 3_600, uses: ofRole.length, role })
    for (const { id, name } of ofRole) await first.agent!.replica.admit({ token, peer: id, name })
  }
  // The founder's agent has done its part; what it wrote is every peer's beginning.
  await first.stop('remove')
  for (const { disk } of others) disk.restore(first.disk)
  const cluster: LightPeer[] = []
  for (const host of [first, ...others]) cluster.push(await start(world, host))
  const random = world.random.fork('light')
  await Promise.all(
    cluster.map(async ({ network, host }, i) => {
      const next = cluster[(i + 1) % cluster.length] as LightPeer
      for (const other of new Set([next, ...random.sample(cluster, Math.min(dialsEach, peers - 1))])) {
        if (other.host === host) continue
        const signal = new AbortController().signal
        await network.dial(other.host.id, [`/ip4/${other.host.station.ip}/tcp/7946`], { signal })
      }
    })
  )
  return cluster
}

export async function stopLight({ clock, network, replica, gossip, sync }: LightPeer): Promise<void> {
  await sync.stop()
  await gossip.stop()
  await network.stop()
  await replica.close()
  clock.halt()
}

async function start(world: World, host: SimHost): Promise<LightPeer> {
  const clock = new HostClock(world.scheduler, host.wall, () => host.station.frozenUntil)
  const random = host.random.fork('light')
  const log = silentLogger
  const disk = host.disk.session(clock)
  const replica = await Replica.open({ dir: '/state', signer: host.signer, clock, random, log, disk })
  const network = new SimNetwork({
    self: host.id,
    station: host.station,
    wire: world.wire,
    clock,
    random: random.fork('network'),
    trace: world.trace,
    membership: { isMember: (peer) => replica.isMember(peer), inCluster: () => true },
    openProtocols: OPEN_PROTOCOLS
  })
  const refusals = new Refusals()
  const sync: AntiEntropy = new AntiEntropy({
    network,
    replica,
    clock,
    random,
    log,
    refusals,
    onNews: (envelopes) => gossip.forward(envelopes),
    onRefused: () => {}
  })
  const fetch = (peer: string): void => void sync.sync(peer, { signal: new AbortController().signal }).catch(() => {})
  const gossip = new ChangeGossip({ network, replica, log, refusals, fetch, audience: () => 'all' })
  await network.start()
  await sync.start()
  gossip.start(replica.clusterId() ?? '')
  return { host, clock, network, replica, gossip, sync }
}
