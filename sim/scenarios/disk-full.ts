import { fault, type Scenario } from './scenario.ts'

/** Disks fill up, some in the middle of a write, one of them as its power fails. */
export const diskFull: Scenario = {
  name: 'disk-full',
  about: "two admins' disks fill up and are slow, one loses its power over it",
  peers: 5,
  durationMs: 30_000,
  workload: { everyMs: 150, servicesMax: 30 },
  faults: ({ random }) => [
    fault('disk-full', random.between(3_000, 5_000), random.between(4_000, 8_000), [[0, 2]]),
    fault('disk-slow', random.between(8_000, 12_000), 8_000, [[1, 3]], random.integer(5, 50)),
    fault('disk-full', random.between(14_000, 16_000), 8_000, [[1]]),
    fault('power', random.between(17_000, 20_000), 3_000, [[1]])
  ]
}
