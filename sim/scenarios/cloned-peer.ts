import { fault, type Scenario } from './scenario.ts'

/** A virtual machine is copied and both copies run: the identity is worthless, all others must go on. */
export const clonedPeer: Scenario = {
  name: 'cloned-peer',
  about: "an admin's and a member's machine are copied, and both copies run",
  peers: 6,
  durationMs: 30_000,
  workload: { everyMs: 200, servicesMax: 30 },
  faults: ({ random }) => [
    fault('clone', random.between(3_000, 6_000), random.between(8_000, 12_000), [[1]]),
    fault('clone', random.between(10_000, 14_000), random.between(8_000, 12_000), [[2]])
  ]
}
