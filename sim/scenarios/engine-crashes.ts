import { fault, range, type Scenario } from './scenario.ts'

/** Engines die all the time, and at times the kernel takes no rules. */
export const engineCrashes: Scenario = {
  name: 'engine-crashes',
  about: 'engines die again and again, and the kernel refuses rules for a while',
  peers: 4,
  durationMs: 25_000,
  workload: { everyMs: 250, servicesMax: 30 },
  faults({ peers, random }) {
    const faults = [fault('kernel-refuses', 8_000, random.between(2_000, 6_000), [random.sample(range(0, peers), 2)])]
    for (let at = 500; at < 22_000; at += random.between(300, 1_500)) {
      faults.push(fault(random.pick(['pegasus', 'tempest'] as const), at, 0, [[random.integer(0, peers - 1)]]))
    }
    return faults
  }
}
