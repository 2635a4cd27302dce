import type { Operator } from '../../src/actors/operator/operator.ts'
import { Replica } from '../../src/crdt/replica.ts'
import type { PeerRecord, RouteId, ServiceId } from '../../src/crdt/schema.ts'
import type { Logger } from '../../src/log.ts'
import type { Membership } from '../../src/mesh/libp2p/doorkeeper.ts'
import { OPEN_PROTOCOLS } from '../../src/mesh/mesh-runtime.ts'
import { version } from '../../src/version.ts'
import { lightSnapshotEntries } from '../limits.ts'
import type { HostNetwork } from '../net/host-network.ts'
import { SimNetwork } from '../net/network.ts'
import type { SeededRandom } from '../random.ts'
import type { HostClock } from './clock.ts'
import { SimDataplane } from './dataplane.ts'
import type { SimHost } from './host.ts'
import { startLight } from './light.ts'
import { startWhole } from './whole.ts'

/** All of an agent, or only what carries the replicated state and steers by it (`light.ts`). */
export type AgentKind = 'whole' | 'light'

/** One agent's life over a simulated host. */
export interface SimAgent {
  readonly clock: HostClock
  readonly network: HostNetwork
  readonly replica: Replica
  readonly dataplane: SimDataplane
  readonly operator: Asked
  /** The operator of all of an agent; null for a light one. */
  readonly whole: Operator | null
  /** Listeners that somebody has on the replica. */
  subscriptions(): number
  /** All but what it put into the kernel, which stays with `keep`. */
  stop(mode: 'remove' | 'keep'): Promise<void>
}

/** What operators ask for in a simulation, as {@link Operator} has it; of the answers only what is used. */
export interface Asked {
  clusterInit(input: { name: string }): Promise<unknown>
  clusterInvite(input: Parameters<Operator['clusterInvite']>[0]): Promise<{ token: string }>
  clusterJoin(input: { token: string }, options: { signal: AbortSignal }): Promise<unknown>
  createService(input: Parameters<Operator['createService']>[0]): Promise<{ id: ServiceId }>
  updateService(id: ServiceId, patch: Parameters<Operator['updateService']>[1]): Promise<unknown>
  deleteService(id: ServiceId): Promise<void>
  addRoutes(id: ServiceId, routes: Parameters<Operator['addRoutes']>[1]): Promise<Array<{ id: RouteId }>>
  updateRoute(service: ServiceId, id: RouteId, patch: Parameters<Operator['updateRoute']>[2]): Promise<unknown>
  deleteRoute(service: ServiceId, id: RouteId): Promise<void>
}

/** What an agent of either kind is made of. */
export interface AgentParts {
  host: SimHost
  clock: HostClock
  random: SeededRandom
  log: Logger
  replica: Replica
  network: HostNetwork
  dataplane: SimDataplane
  /** What this process says of itself. */
  record: () => PeerRecord
}

/** What makes an agent one of its kind. */
export interface Started {
  operator: Asked
  whole: Operator | null
  stop(): Promise<void>
}

export async function startAgent(host: SimHost, clock: HostClock, log: Logger): Promise<SimAgent> {
  const { world, signer, index } = host
  const random = host.random.fork(`life ${host.lives}`)
  const { reader } = world
  const disk = host.disk.session(clock)
  const snapshots = world.agents === 'light' ? { snapshotEvery: lightSnapshotEntries } : {}
  const replica = await Replica.open({ dir: '/state', signer, clock, random, log, disk, reader, ...snapshots })
  const subscriptions = countSubscriptions(replica)
  const dataplane = new SimDataplane({
    kernel: host.kernel,
    clock,
    random: random.fork('kernel'),
    onApplied: (generation) => {
      world.trace.applied(index, generation, host.kernel.digest())
      world.trace.note(index, 'apply', `generation ${generation}`)
    }
  })
  await dataplane.start()
  const membership = {
    isMember: (peer: string) => replica.isMember(peer),
    inCluster: () => replica.clusterId() != null
  }
  const network = await networkOf(host, { clock, log, membership, random: random.fork('network') })
  const record = (): PeerRecord => ({
    id: signer.peerId,
    name: host.name,
    mesh_addresses: network.addresses(),
    data_addresses: [`${host.station.ip}:7947`],
    pegasus_key: host.keys.pegasus,
    tempest_key: host.keys.tempest,
    version
  })
  const parts: AgentParts = { host, clock, random, log, replica, network, dataplane, record }
  const { operator, whole, stop } = await (world.agents === 'whole' ? startWhole(parts) : startLight(parts))
  return {
    clock,
    network,
    replica,
    dataplane,
    operator,
    whole,
    subscriptions,
    // In the order of `src/agent.ts`.
    async stop(mode) {
      await stop()
      await dataplane.stop({ mode })
      await replica.close()
    }
  }
}

async function networkOf(
  { world, signer, station, seed }: SimHost,
  parts: { clock: HostClock; log: Logger; membership: Membership; random: SeededRandom }
): Promise<HostNetwork> {
  const { wire, trace } = world
  const { clock, log, membership, random } = parts
  const openProtocols = OPEN_PROTOCOLS
  if (world.network === 'light')
    return new SimNetwork({ self: signer.peerId, station, wire, clock, random, trace, membership, openProtocols })
  // Loaded when it is wanted: it takes the process's timers and chance over.
  const { libp2pNetwork } = await import('../net/libp2p/network.ts')
  return libp2pNetwork({ wire, station, trace, seed }, { membership, openProtocols, version, clock, log })
}

function countSubscriptions(replica: Replica): () => number {
  let count = 0
  for (const name of ['onView', 'onLocal', 'onReceived'] as const) {
    const subscribe = replica[name].bind(replica) as (listener: never) => () => void
    Object.defineProperty(replica, name, {
      value: (listener: never) => {
        const unsubscribe = subscribe(listener)
        let held = true
        count++
        return () => {
          if (held) count--
          held = false
          unsubscribe()
        }
      }
    })
  }
  return () => count
}
