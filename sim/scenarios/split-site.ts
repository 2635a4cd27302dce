import { fault, range, type Scenario } from './scenario.ts'

/** Two sites lose each other, both go on being changed, and meet again; then once more along another line. */
export const splitSite: Scenario = {
  name: 'split-site',
  about: 'two halves lose each other, go on working, and meet again, twice along different lines',
  peers: 6,
  durationMs: 45_000,
  workload: { everyMs: 300, servicesMax: 30 },
  faults: ({ peers, random }) => [
    fault('split', random.between(2_000, 5_000), random.between(8_000, 15_000), [range(0, peers >> 1)]),
    fault('split', random.between(24_000, 28_000), random.between(5_000, 12_000), [
      random.sample(range(0, peers), peers >> 1)
    ])
  ]
}
