import { createRequire } from 'node:module'
import { systemClock } from '../../../src/clock.ts'
import { Replica } from '../../../src/crdt/replica.ts'
import { silentLogger } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'
import { signer, state } from '../support.ts'

/** Starts the first peer in a directory, gives it envelopes (base64), and prints its state and whether that has loaded Automerge. */
const [dir = '', ...envelopes] = process.argv.slice(2)
const [clock, random, log] = [systemClock, systemRandom, silentLogger]
const replica = await Replica.open({ dir, signer: signer(1), clock, random, log })
await replica.receive(
  envelopes.map((text) => Buffer.from(text, 'base64')),
  'somebody'
)
const { cache } = createRequire(import.meta.url)
const isLoaded = Object.keys(cache).some((path) => path.includes('@automerge'))
process.stdout.write(JSON.stringify({ isLoaded, state: state(replica) }))
await replica.close()
