import { fault, range, type Scenario } from './scenario.ts'

/** The power of a whole site fails in the middle of writes, then that of everybody. */
export const massReboot: Scenario = {
  name: 'mass-reboot',
  about: 'half of the hosts lose their power while writing, then all of them at once',
  peers: 6,
  durationMs: 30_000,
  workload: { everyMs: 150, servicesMax: 40 },
  faults: ({ peers, random }) => [
    fault('power', random.between(3_000, 5_000), random.between(1_000, 4_000), [
      random.sample(range(0, peers), peers >> 1)
    ]),
    fault('power', random.between(15_000, 18_000), random.between(1_000, 5_000), [range(0, peers)])
  ]
}
