import { startActors, type Actors } from '../../src/actors/start.ts'
import { Replica } from '../../src/crdt/replica.ts'
import type { PeerRecord } from '../../src/crdt/schema.ts'
import type { Logger } from '../../src/log.ts'
import { MeshRuntime, OPEN_PROTOCOLS } from '../../src/mesh/mesh-runtime.ts'
import { version } from '../../src/version.ts'
import type { HostNetwork } from '../net/host-network.ts'
import { SimNetwork } from '../net/network.ts'
import type { HostClock } from './clock.ts'
import { SimDataplane } from './dataplane.ts'
import type { SimHost } from './host.ts'

/** One agent's life, composed as `src/agent.ts` does, of the product's own parts over a simulated host. */
export interface SimAgent {
  clock: HostClock
  network: HostNetwork
  replica: Replica
  mesh: MeshRuntime
  dataplane: SimDataplane
  actors: Actors
  /** Listeners that somebody has on the replica. */
  subscriptions: () => number
}

export async function startAgent(host: SimHost, clock: HostClock, log: Logger): Promise<SimAgent> {
  const { world, signer, index } = host
  const random = host.random.fork(`life ${host.lives}`)
  const replica = await Replica.open({ dir: '/state', signer, clock, random, log, disk: host.disk.session(clock) })
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
  const { wire, trace } = world
  const { station } = host
  const seeded = random.fork('network')
  const network: HostNetwork =
    world.network === 'light'
      ? new SimNetwork({
          self: signer.peerId,
          station,
          wire,
          clock,
          random: seeded,
          trace,
          membership,
          openProtocols: OPEN_PROTOCOLS
        })
      : // Loaded when it is wanted: it takes the process's timers and chance over.
        await (
          await import('../net/libp2p/network.ts')
        ).libp2pNetwork(
          { wire, station, trace, seed: host.seed },
          { membership, openProtocols: OPEN_PROTOCOLS, version, clock, log }
        )
  const record = (): PeerRecord => ({
    id: signer.peerId,
    name: host.name,
    mesh_addresses: network.addresses(),
    data_addresses: [`${host.station.ip}:7947`],
    pegasus_key: host.keys.pegasus,
    tempest_key: host.keys.tempest,
    version
  })
  const mesh = new MeshRuntime({ network, replica, signer, record, version, clock, random, log })
  await mesh.start()
  const actors = startActors({
    replica,
    mesh,
    dataplane,
    clock,
    log,
    version,
    stateDir: '/state',
    selfRecord: record,
    listen: () => ({
      mesh: network.addresses(),
      data: '0.0.0.0:7947',
      api: null,
      socket: '/agent.sock',
      api_fingerprint: null
    }),
    onFatal: (error) => world.violate('errors', `${host.name}: a part failed for good: ${String(error)}`)
  })
  return { clock, network, replica, mesh, dataplane, actors, subscriptions }
}

/** In the order of `src/agent.ts`. */
export async function stopAgent(
  { actors, mesh, dataplane, replica }: SimAgent,
  mode: 'remove' | 'keep'
): Promise<void> {
  await actors.stop()
  await mesh.stop()
  await dataplane.stop({ mode })
  await replica.close()
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
