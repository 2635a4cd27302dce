import { fault, range, type Scenario } from './scenario.ts'

/** A WAN that loses, reorders and comes and goes every second or two. */
export const flappingWan: Scenario = {
  name: 'flapping-wan',
  about: 'the way between two halves comes and goes, with loss, jitter, reordering and repetition all along',
  peers: 5,
  durationMs: 40_000,
  workload: { everyMs: 400, servicesMax: 30 },
  faults({ peers, random }) {
    const faults = [
      fault('loss', 0, 38_000, [], random.integer(2, 15)),
      fault('latency', 0, 38_000, [], random.integer(5, 60)),
      fault('reorder', 0, 38_000, [], random.integer(20, 200)),
      fault('duplicate', 0, 38_000, [], random.integer(1, 20))
    ]
    for (let at = 1_000; at < 34_000; at += random.between(1_500, 4_000)) {
      const half = range(0, peers >> 1)
      const rest = range(peers >> 1, peers)
      const kind = random.pick(['split', 'oneway'] as const)
      faults.push(fault(kind, at, random.between(300, 2_500), kind === 'split' ? [half] : [half, rest]))
    }
    return faults
  }
}
