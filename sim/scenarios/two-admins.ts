import { operatorOf } from '../world.ts'
import { fault, type Scenario } from './scenario.ts'

const everyMs = 120
const fieldsMax = 1_000

/** Two administrators change the same service against each other, at times without hearing each other. */
export const twoAdmins: Scenario = {
  name: 'two-admins',
  about: 'two administrators change, rename and remove the same things against each other, over a way that breaks',
  peers: 4,
  durationMs: 25_000,
  workload: { everyMs: 1_500, servicesMax: 10 },
  faults: ({ random }) => [
    fault('cut', random.between(3_000, 5_000), random.between(4_000, 8_000), [[0], [1]]),
    fault('split', random.between(15_000, 17_000), random.between(3_000, 6_000), [[0, 2]])
  ],
  async drive(world) {
    const random = world.random.fork('admins')
    const end = world.now + 22_000
    const fight = async (index: number): Promise<void> => {
      const host = world.hosts[index]
      if (host == null) return
      while (world.now < end) {
        await world.scheduler.sleep(random.between(0, 2 * everyMs))
        if (host.agent == null) continue
        const operator = operatorOf(host)
        const service = random.pick([...host.agent.replica.view().services.keys()].sort().slice(0, 3))
        if (service == null) continue
        // Refusals are part of a fight: the other one has removed it, or took the name.
        const wish = random.chance(0.5)
          ? operator.updateService(service, {
              name: `name-${random.integer(0, 3)}`,
              bandwidth_limit_mbps: random.integer(0, fieldsMax)
            })
          : operator.addRoutes(service, [
              { dest_cidr: `10.9.${random.integer(0, 3)}.0/24`, priority: random.integer(0, 3) }
            ])
        wish.catch(() => {})
      }
    }
    await Promise.all([fight(0), fight(1)])
  }
}
