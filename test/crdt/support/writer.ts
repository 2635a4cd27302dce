import { Replica } from '../../../src/crdt/replica.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'
import { invite, peerRecord, signer } from '../support.ts'

/** A process that writes services as fast as it can and says which were acknowledged, until it is killed. */
const replica = await Replica.open({
  dir: process.argv[2] ?? '',
  signer: signer(1),
  clock: systemClock,
  random: systemRandom,
  log: silentLogger
})
if (replica.clusterId() == null) await replica.init({ name: 'home', record: peerRecord(replica.self, 'alpha') })
const target = signer(2).peerId
await replica.admit({ token: invite(replica), peer: target, name: 'beta' })
process.send?.('ready')
const write = async (lane: number): Promise<never> => {
  for (let i = 0; ; i++) {
    const name = `${process.pid}-${lane}-${i}`
    await replica.createService({ source_peer_id: replica.self, target_peer_id: target, name })
    process.send?.(name)
  }
}
await Promise.all([1, 2, 3, 4].map(write))
