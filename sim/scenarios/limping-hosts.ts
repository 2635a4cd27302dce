import { fault, type Scenario } from './scenario.ts'

/** Neither up nor down: what a monitor notices last. */
export const limpingHosts: Scenario = {
  name: 'limping-hosts',
  about: 'one host is slow in all it does, one stands still and goes on, one is killed, all while operators work',
  peers: 5,
  durationMs: 25_000,
  workload: { everyMs: 250, servicesMax: 30 },
  faults: ({ random }) => [
    fault('slow', 1_000, 18_000, [[1]], random.integer(50, 400)),
    fault('freeze', random.between(4_000, 6_000), random.between(4_000, 9_000), [[0]]),
    fault('kill', random.between(8_000, 12_000), random.between(500, 3_000), [[2]]),
    fault('freeze', random.between(15_000, 17_000), random.between(500, 2_000), [[3, 4]])
  ]
}
