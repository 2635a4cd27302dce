import { Replica } from '../../../src/crdt/replica.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'
import { invite, peerRecord, signer } from '../support.ts'

/**
 * A process that writes services into each of some states as fast as it can, and says which were acknowledged, until it
 * is killed. What it says begins with the number of the state.
 */
const target = signer(2).peerId
const replicas = await Promise.all(
  process.argv.slice(2).map((dir) =>
    Replica.open({
      dir,
      signer: signer(1),
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      snapshotEvery: 25
    })
  )
)
for (const replica of replicas) {
  if (replica.clusterId() == null) await replica.init({ name: 'home', record: peerRecord(replica.self, 'alpha') })
  if (!replica.isMember(target)) await replica.admit({ token: invite(replica), peer: target, name: 'beta' })
}
process.send?.('ready')
const write = async (replica: Replica, state: number, lane: number): Promise<never> => {
  for (let i = 0; ; i++) {
    const name = `${process.pid}-${lane}-${i}`
    await replica.createService({ source_peer_id: replica.self, target_peer_id: target, name })
    process.send?.(`${state} ${name}`)
  }
}
await Promise.all(replicas.flatMap((replica, state) => [1, 2, 3].map((lane) => write(replica, state, lane))))
