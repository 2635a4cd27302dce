import { operatorOf, type World } from '../world.ts'
import type { SimHost } from './host.ts'

/** So many peers dial this many others each, besides the next one. */
const dialsEach = 7
/** One of so many is an admin. */
const adminEach = 10

/**
 * A cluster of so many light agents, connected and in agreement; the first was founded and has let in all others. They
 * begin with a copy of its disk, and nobody but the first has a record, so that a thousand are there in a minute.
 */
export async function lightCluster(world: World, peers: number): Promise<SimHost[]> {
  const first = await world.found('light', { describes: false })
  const others = Array.from({ length: peers - 1 }, () => world.host({ describes: false }))
  for (const role of ['member', 'admin'] as const) {
    const ofRole = others.filter(({ index }) => (index % adminEach === 1) === (role === 'admin'))
    if (ofRole.length === 0) continue
    const { token } = await operatorOf(first).clusterInvite({ ttl_seconds: 3_600, uses: ofRole.length, role })
    for (const { id, name } of ofRole) await first.agent!.replica.admit({ token, peer: id, name })
  }
  await first.stop('remove')
  for (const { disk } of others) disk.restore(first.disk)
  const cluster = [first, ...others]
  for (const host of cluster) await host.boot()
  const random = world.random.fork('light')
  await Promise.all(
    cluster.map(async (host, i) => {
      const next = cluster[(i + 1) % cluster.length] as SimHost
      for (const other of new Set([next, ...random.sample(cluster, Math.min(dialsEach, peers - 1))])) {
        if (other === host) continue
        const signal = new AbortController().signal
        await host.agent!.network.dial(other.id, [`/ip4/${other.station.ip}/tcp/7946`], { signal })
      }
    })
  )
  return cluster
}
