/**
 * What joining a large cluster costs, beside what it is made of: `node bench/join.ts [SERVICES] [ROUNDS]`, each service with
 * a route. Prints a table; medians of rounds in which all take turns, ratios to the reference in the row.
 *
 * 1. By the whole history: taken over, verified, folded, stored; beside verifying its envelopes and nothing else, one after
 *    the other. The join verifies signatures on other threads, so the CPU of the agent's own thread has a row too.
 * 2. By a snapshot that an admin has signed, until it is served; beside `Automerge.load` of the document in it. That a document is what its
 *    heads name is found on another thread, which nobody waits for.
 * 3. After that, until the whole history behind it is verified and has taken its place.
 */
import { load } from '@automerge/automerge'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/clock.ts'
import { saveAside } from '../src/crdt/document-aside.ts'
import { parseEnvelope, verifyEnvelope } from '../src/crdt/envelope.ts'
import { Replica } from '../src/crdt/replica.ts'
import { signerFromSeed, verifyAside, type Signer } from '../src/crdt/signer.ts'
import { decodeSnapshot } from '../src/crdt/snapshot.ts'
import { silentLogger } from '../src/log.ts'
import { systemRandom } from '../src/random.ts'
import { record, row } from './replica.ts'

const [services, rounds] = [Number(process.argv[2] ?? 10_000), Number(process.argv[3] ?? 3)]
const signer = (n: number): Signer => signerFromSeed(new Uint8Array(32).fill(n))
const open = (dir: string, n: number): Promise<Replica> =>
  Replica.open({
    dir,
    signer: signer(n),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    verifier: verifyAside,
    saver: saveAside
  })
const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] as number
const timed = async (work: () => unknown): Promise<number> => {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

// What a thread makes does not keep a process, as little as what a clock waits for.
const alive = setInterval(() => {}, 1_000)
const root = await mkdtemp(join(tmpdir(), 'arctic-bench-'))
try {
  const a = await open(join(root, 'a'), 1)
  const token = await founded(a)
  await fill(a)
  const signing = await timed(() => a.signEpoch())
  const handed = await a.bootstrapSnapshot()
  if (handed == null) throw new Error(`${services} services are too few for a snapshot`)
  const whole = a.bootstrap()
  const clusterId = a.clusterId() ?? ''
  const { document } = decodeSnapshot(handed.snapshot)

  const names = ['verify', 'signed', 'signedCpu', 'load', 'snapshot', 'snapshotCpu', 'behind', 'behindCpu']
  const times = Object.fromEntries(names.map((name) => [name, []])) as Record<string, number[]>
  /** How long it takes, and the CPU of the own thread. */
  const both = async (name: string, work: () => unknown): Promise<void> => {
    const before = process.threadCpuUsage()
    times[name]?.push(await timed(work))
    const { user, system } = process.threadCpuUsage(before)
    times[`${name}Cpu`]?.push((user + system) / 1000)
  }
  for (let round = 0; round < rounds; round++) {
    times['verify']?.push(
      await timed(() => {
        for (const bytes of whole.envelopes) {
          if (!verifyEnvelope(parseEnvelope(bytes), clusterId)) throw new Error('an envelope is not good')
        }
      })
    )
    const b = await open(join(root, `signed${round}`), 2)
    await both('signed', () => b.adopt({ ...whole, token }))
    await b.close()
    times['load']?.push(await timed(() => load(document)))
    const c = await open(join(root, `snapshot${round}`), 2)
    await both('snapshot', () => c.adoptSnapshot({ ...handed, token }))
    if (c.view().services.size !== services || c.behind() == null) throw new Error('it does not serve')
    await both('behind', () => verified(c, a))
    await c.close()
  }
  const of = (name: string): number => median(times[name] ?? [])
  console.log(`${services} services, ${whole.envelopes.length} envelopes, snapshot ${handed.snapshot.length} bytes`)
  row('signing an epoch', signing)
  row('verifying the envelopes', of('verify'))
  row('joining by the whole history', of('signed'), of('verify'))
  row('of it, CPU of the own thread', of('signedCpu'), of('verify'))
  row('Automerge.load', of('load'))
  row('joining by a snapshot', of('snapshot'), of('load'))
  row('of it, CPU of the own thread', of('snapshotCpu'), of('load'))
  row('then, until the history is verified', of('behind'), of('verify'))
  row('of it, CPU of the own thread', of('behindCpu'), of('verify'))
  await a.close()
} finally {
  clearInterval(alive)
  await rm(root, { recursive: true, force: true })
}

async function founded(a: Replica): Promise<string> {
  await a.init({ name: 'bench', record: record(a.self) })
  const addresses = ['/ip4/127.0.0.1/tcp/7946']
  const token = a.createInvite({ ttlMs: 3_600_000, uses: 2, role: 'admin', addresses })
  await a.admit({ token, peer: signer(2).peerId, name: 'other' })
  return token
}

async function fill(a: Replica): Promise<void> {
  const add = async (i: number): Promise<void> => {
    const peers = { source_peer_id: a.self, target_peer_id: signer(2).peerId }
    const { id } = await a.createService({ ...peers, name: `s${i}` })
    await a.addRoutes(id, [{ dest_cidr: `10.${(i >> 8) & 255}.${i & 255}.0/24` }])
  }
  for (let i = 0; i < services; i += 100) {
    await Promise.all(Array.from({ length: Math.min(100, services - i) }, (_, j) => add(i + j)))
  }
}

async function verified(c: Replica, from: Replica): Promise<void> {
  for (const batch of from.missing(c.behind()?.vector() ?? {}, 64 * 1024)) await c.receiveBehind(batch, from.self)
  while (c.behind() != null) await systemClock.sleep(1)
}
