import { fault, range, type Scenario } from './scenario.ts'

/** Each agent is restarted in turn, its engines and rules left as they are, while operators go on. */
export const rollingUpgrade: Scenario = {
  name: 'rolling-upgrade',
  about: 'one agent after the other is stopped, leaving its rules and engines, and started again',
  peers: 5,
  durationMs: 40_000,
  workload: { everyMs: 250, servicesMax: 30 },
  faults: ({ peers, random }) =>
    range(0, peers).map((host) =>
      fault('restart', 2_000 + (host * 34_000) / peers, random.between(500, 3_000), [[host]])
    )
}
