import type { Scenario } from './scenario.ts'

/** Nothing fails: what is wrong here is wrong always. */
export const calm: Scenario = {
  name: 'calm',
  about: 'operators at work on a network without fault',
  peers: 5,
  durationMs: 20_000,
  workload: { everyMs: 200, servicesMax: 30 },
  faults: () => []
}
