import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sleep } from '../../lab/wait.ts'
import type { Figures } from '../rounds.ts'
import { members, quantile, type System } from './system.ts'

/** Writes before it counts, writes that count, ms between two, and how long the last ones may take to arrive. */
const [WARM_UP, WRITES, EVERY_MS, SETTLE_MS] = [30, 200, 20, 2_500]

/** From before a write to the last of all members having seen it, the writer among them; writers take turns. */
export async function propagation(system: System): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), `arctic-bench-${system.name}-`))
  try {
    await system.start(directory)
    await sleep(SETTLE_MS)
    const begun = new Map<number, number>()
    for (let n = 0; n < WARM_UP + WRITES; n++) {
      const at = await system.write(n % members, n)
      if (n >= WARM_UP) begun.set(n, at)
      await sleep(EVERY_MS)
    }
    await sleep(SETTLE_MS)
    const seen = await system.seen()
    const delays: number[] = []
    let lost = 0
    for (const [n, at] of begun) {
      const times = seen.get(n) ?? []
      if (times.length < members) lost++
      else delays.push(Math.max(...times) - at)
    }
    return { p50: quantile(delays, 0.5), p99: quantile(delays, 0.99), lost }
  } finally {
    await system.stop()
    await rm(directory, { recursive: true, force: true })
  }
}
