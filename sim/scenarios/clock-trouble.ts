import { fault, type Scenario } from './scenario.ts'

const hourMs = 3_600_000

/** Clocks that nobody sets right: order and agreement must not depend on them. */
export const clockTrouble: Scenario = {
  name: 'clock-trouble',
  about: 'clocks jump by hours, forward and back, and run too fast and too slow',
  peers: 5,
  durationMs: 30_000,
  workload: { everyMs: 200, servicesMax: 30 },
  faults: ({ random }) => [
    fault('clock-jump', 2_000, 12_000, [[0]], random.integer(-5, -1) * hourMs),
    fault('clock-jump', 4_000, 15_000, [[1]], random.integer(1, 20) * hourMs),
    fault('clock-skew', 1_000, 25_000, [[2]], random.integer(50, 300)),
    fault('clock-skew', 1_000, 25_000, [[3]], -random.integer(50, 300)),
    fault('restart', 10_000, 1_000, [[0, 1]])
  ]
}
