import { fault, type Scenario } from './scenario.ts'

/** Half an upgrade: some agents write what the others do not understand and must keep. */
export const mixedVersions: Scenario = {
  name: 'mixed-versions',
  about: 'two admins run a newer version, whose fields and kinds the others pass on and keep; one is restarted',
  peers: 6,
  durationMs: 25_000,
  workload: { everyMs: 250, servicesMax: 20 },
  faults: ({ random }) => [
    fault('newer', 1_000, 20_000, [[1, 4]]),
    fault('split', random.between(4_000, 8_000), random.between(3_000, 6_000), [[1, 2, 3]]),
    fault('power', random.between(14_000, 16_000), 2_000, [[2]])
  ]
}
