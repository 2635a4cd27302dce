import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { systemClock } from '../../../src/clock.ts'
import { saveAside } from '../../../src/crdt/document-aside.ts'
import { Replica } from '../../../src/crdt/replica.ts'
import { decodeSnapshot } from '../../../src/crdt/snapshot.ts'
import { silentLogger } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'
import { peerRecord, signer, state } from '../support.ts'

/** What a joiner is handed, all of it base64. */
export interface Handed {
  genesis: string
  auth: string[]
  snapshot: string
  token: string
  /** What others write once it is in, and all that was written before. */
  later: string[]
  before: string[]
}

/**
 * Joins the fourth peer by a snapshot in a directory, and has it do what a joiner does: take in what others write, write itself, note
 * an event, verify the history behind, take a snapshot of its own. Prints its state, and how many of Automerge's documents this thread has made by then.
 */
const [dir = '', file = ''] = process.argv.slice(2)
const handed = JSON.parse(await readFile(file, 'utf8')) as Handed
const bytes = (text: string): Uint8Array => Buffer.from(text, 'base64')
const all = (texts: string[]): Uint8Array[] => texts.map(bytes)

let documents = 0
const require = createRequire(import.meta.url)
const automerge = require('@automerge/automerge') as object
const counting = new Proxy(automerge, {
  get(target, name) {
    if (name === 'init') documents++
    return Reflect.get(target, name) as unknown
  }
})
Object.assign(require.cache[require.resolve('@automerge/automerge')] as object, { exports: counting })

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10))
}

// What an agent waits for does not keep a process.
const agent = setInterval(() => {}, 1_000)
const [clock, random, log] = [systemClock, systemRandom, silentLogger]
const options = { clock, random, log, saver: saveAside, snapshotEvery: 20 }
const replica = await Replica.open({ dir, signer: signer(4), ...options })
const { genesis, auth, snapshot, token, later, before } = handed
const outcome = await replica.adoptSnapshot({
  genesis: bytes(genesis),
  auth: all(auth),
  snapshot: bytes(snapshot),
  token
})
if (outcome != null) throw new Error(outcome.refused)
await replica.receive(all(later), 'somebody')
await replica.putPeer(peerRecord(replica.self, 'delta'))
const [first = ''] = replica.view().services.keys()
await replica.updateService(first, { name: 'by d' })
await replica.note({ actor: 'netmgr', event: { type: 'netmgr.retry' }, by: 'socket' })
const shown = state(replica)
for (const envelope of all(before)) await replica.receiveBehind([envelope], 'somebody')
await until(() => replica.behind() == null)
if (replica.contradiction() != null) throw new Error(replica.contradiction()?.message)
// Its own: it has heard of what came later.
await until(async () => {
  const own = await readFile(join(dir, 'cluster', 'snapshot'))
  return decodeSnapshot(own).head.segments > 1
})
const isSame = JSON.stringify(shown) === JSON.stringify(state(replica))
await new Promise<void>((resolve) =>
  process.stdout.write(JSON.stringify({ documents, isSame, state: state(replica) }), () => resolve())
)
await replica.close()
clearInterval(agent)
