import { fault, type Scenario } from './scenario.ts'

/** An admin is thrown out in the middle of its work, once while the two sides do not hear each other. */
export const adminRevoked: Scenario = {
  name: 'admin-revoked',
  about: 'an admin is revoked while it writes, another one while it is cut off and does not hear of it',
  peers: 8,
  durationMs: 30_000,
  workload: { everyMs: 100, servicesMax: 40 },
  faults: ({ random }) => [
    fault('revoke', random.between(4_000, 6_000), 1_000, [[4]]),
    fault('split', random.between(9_000, 10_000), random.between(8_000, 12_000), [[1, 2, 3]]),
    fault('revoke', random.between(12_000, 14_000), 15_000, [[1]])
  ]
}
