/**
 * What the replicated state costs, beside what it is made of: `node bench/control.ts [SERVICES] [ROUNDS]`, each service with a
 * route. Prints a table; medians, ratios to the reference in the row.
 *
 * 1. A change (signed, fsynced, folded) in a state of a tenth of the size, and of the whole.
 * 2. A start, from `fork` to the state being there, by the snapshot and by the whole history, beside `node -e 0`.
 */
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { Replica } from '../src/crdt/replica.ts'
import { signerFromSeed, type Signer } from '../src/crdt/signer.ts'
import { silentLogger } from '../src/log.ts'
import { systemRandom } from '../src/random.ts'
import { record, row } from './replica.ts'

const self = fileURLToPath(import.meta.url)
const signer = (n: number): Signer => signerFromSeed(new Uint8Array(32).fill(n))
const open = (dir: string, n = 1): Promise<Replica> =>
  Replica.open({ dir, signer: signer(n), clock: systemClock, random: systemRandom, log: silentLogger })
const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] as number
const timed = async (work: () => unknown): Promise<number> => {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

async function main(services: number, rounds: number): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'arctic-bench-'))
  try {
    const dir = join(root, 'a')
    const a = await open(dir)
    await a.init({ name: 'bench', record: record(a.self) })
    const peer = signer(2).peerId
    const invite = { ttlMs: 3_600_000, uses: 2, role: 'admin', addresses: ['/ip4/127.0.0.1/tcp/7946'] } as const
    const token = a.createInvite({ ...invite, addresses: [...invite.addresses] })
    await a.admit({ token, peer, name: 'other' })
    const add = async (i: number): Promise<void> => {
      const { id } = await a.createService({ source_peer_id: a.self, target_peer_id: peer, name: `s${i}` })
      await a.addRoutes(id, [{ dest_cidr: `10.${(i >> 8) & 255}.${i & 255}.0/24` }])
    }
    const fill = async (count: number): Promise<void> => {
      for (let i = a.view().services.size; i < count; i += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, j) => add(i + j)))
      }
    }
    const change = async (): Promise<number> => {
      const [id = ''] = a.view().services.keys()
      const times: number[] = []
      for (let i = 0; i < 50; i++) times.push(await timed(() => a.updateService(id, { bandwidth_limit_mbps: i + 1 })))
      return median(times)
    }
    await fill(services / 10)
    const small = await change()
    await fill(services)
    row(`a change at ${services / 10} services, p50`, small)
    row(`a change at ${services} services, p50`, await change(), small)
    await a.close()

    const bare: number[] = []
    const snapshot: number[] = []
    const whole: number[] = []
    for (let round = 0; round < rounds; round++) {
      bare.push(await timed(() => spawnSync(process.execPath, ['-e', '0'])))
      snapshot.push(await timed(() => started(dir)))
      // Of a copy: such a start takes a snapshot of its own.
      const copy = join(root, `whole${round}`)
      await cp(dir, copy, { recursive: true })
      await rm(join(copy, 'cluster', 'snapshot'), { force: true })
      await rm(join(copy, 'cluster', 'lock'), { force: true })
      whole.push(await timed(() => started(copy)))
    }
    row('node -e 0', median(bare))
    row('a start', median(snapshot), median(bare))
    row('a start by the whole history', median(whole), median(bare))
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** A process of its own that opens the state and ends without a word, so that it leaves everything as it was. */
async function started(dir: string): Promise<void> {
  const child = fork(self, ['open', dir])
  await once(child, 'message')
  child.kill('SIGKILL')
  await once(child, 'exit')
}

const [what = '10000', second] = process.argv.slice(2)
if (what === 'open') {
  const replica = await open(second ?? '')
  process.send?.(replica.view().services.size)
} else {
  await main(Number(what), Number(second ?? 3))
}
