import { fault, type Scenario } from './scenario.ts'

/** Members whose keys somebody has: they may speak, so what they say is what has to be judged. */
export const traitor: Scenario = {
  name: 'traitor',
  about: 'a member, then an admin, replays, forges, floods and signs two things as one',
  peers: 7,
  durationMs: 30_000,
  workload: { everyMs: 250, servicesMax: 30 },
  faults: ({ random }) => [
    fault('traitor', random.between(2_000, 4_000), random.between(5_000, 8_000), [[2]]),
    fault('traitor', random.between(12_000, 14_000), random.between(5_000, 8_000), [[4]])
  ]
}
