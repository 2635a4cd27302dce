import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { Libp2pNetwork } from '../../src/mesh/libp2p-network.ts'
import { systemRandom } from '../../src/random.ts'
import type { Cleanup } from './support.ts'

/** A network of its own identity on loopback, to which everybody is a member; stopped by `cleanup`. */
export async function openNetwork(cleanup: Cleanup): Promise<Libp2pNetwork> {
  const made = await Libp2pNetwork.create({
    privateKey: await generateKeyPairFromSeed('Ed25519', systemRandom.bytes(32)),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    advertise: [],
    membership: { inCluster: () => true, isMember: () => true },
    openProtocols: [],
    version: '0.0.0',
    clock: systemClock,
    log: silentLogger
  })
  cleanup.later(() => made.stop())
  await made.start()
  return made
}
