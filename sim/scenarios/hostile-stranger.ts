import { Attacker } from '../hostile/attacker.ts'
import { fault, type Scenario } from './scenario.ts'

const attackMs = 20_000

/** One host is never let in, and spends its time on that. */
export const hostileStranger: Scenario = {
  name: 'hostile-stranger',
  about: 'one who was never let in forges, replays, introduces itself and floods, at every member',
  peers: 5,
  durationMs: 25_000,
  workload: { everyMs: 300, servicesMax: 20 },
  founders: (peers) => peers - 1,
  faults: ({ random }) => [fault('loss', 5_000, 10_000, [], random.integer(1, 10))],
  async drive(world) {
    const stranger = world.hosts.at(-1)
    if (stranger != null) await new Attacker(world, stranger).asStranger(attackMs)
  }
}
