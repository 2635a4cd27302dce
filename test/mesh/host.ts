import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { Replica } from '../../src/crdt/replica.ts'
import type { PeerRecord } from '../../src/crdt/schema.ts'
import { silentLogger, type Logger } from '../../src/log.ts'
import { openIdentity, type Identity } from '../../src/mesh/identity.ts'
import { Libp2pNetwork } from '../../src/mesh/libp2p-network.ts'
import { MeshRuntime, OPEN_PROTOCOLS } from '../../src/mesh/mesh-runtime.ts'
import { systemRandom } from '../../src/random.ts'

export interface Host {
  id: string
  name: string
  dir: string
  identity: Identity
  replica: Replica
  network: Libp2pNetwork
  mesh: MeshRuntime
  record: () => PeerRecord
  /** Peers that this host neither dials nor lets in nor keeps connected: one side of a partition. */
  denied: Set<string>
  stop(): Promise<void>
}

/** An agent's control plane, real throughout: identity and replica on disk, libp2p over loopback TCP. */
export async function startHost(
  root: string,
  name: string,
  {
    listen = '/ip4/127.0.0.1/tcp/0',
    log = silentLogger,
    epochEvery
  }: { listen?: string; log?: Logger; epochEvery?: number } = {}
): Promise<Host> {
  const dir = join(root, name)
  const [clock, random, version] = [systemClock, systemRandom, '0.0.0']
  const identity = await openIdentity(dir, random)
  const replica = await Replica.open({
    dir,
    signer: identity.signer,
    clock,
    random,
    log,
    ...(epochEvery == null ? {} : { epochEvery })
  })
  const denied = new Set<string>()
  const network = await Libp2pNetwork.create({
    privateKey: identity.privateKey,
    listen: [listen],
    advertise: [],
    membership: {
      isMember: (peer) => replica.isMember(peer) && !denied.has(peer),
      inCluster: () => replica.clusterId() != null
    },
    openProtocols: OPEN_PROTOCOLS,
    version,
    clock,
    log
  })
  const record = (): PeerRecord => ({
    id: identity.peerId,
    name,
    mesh_addresses: network.addresses(),
    data_addresses: ['127.0.0.1:7947'],
    pegasus_key: identity.pegasus.publicKey,
    tempest_key: identity.tempest.publicKey,
    version
  })
  const mesh = new MeshRuntime({ network, replica, signer: identity.signer, record, version, clock, random, log })
  try {
    await mesh.start()
  } catch (error) {
    await replica.close()
    throw error
  }
  return {
    id: identity.peerId,
    name,
    dir,
    identity,
    replica,
    network,
    mesh,
    record,
    denied,
    async stop() {
      await mesh.stop()
      await replica.close()
    }
  }
}

const signal = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms)

/** A founds a cluster, the others join it one after the other. */
export async function cluster(hosts: Host[]): Promise<void> {
  const [founder, ...joiners] = hosts
  await founder!.replica.init({ name: 'test', record: founder!.record() })
  const token = await founder!.mesh.invite({ ttlMs: 60_000, uses: Math.max(1, joiners.length), role: 'admin' })
  for (const joiner of joiners) await joiner.mesh.join(token, { signal: signal() })
}
