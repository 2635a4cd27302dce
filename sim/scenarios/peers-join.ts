import { ArcticError } from '../../src/errors.ts'
import type { World } from '../world.ts'
import { fault, type Scenario } from './scenario.ts'

/** Everybody but the founder joins at about the same time, by any admin there is, over a network that loses. */
export const peersJoin: Scenario = {
  name: 'peers-join',
  about: 'all but the founder join at the same time, by any admin there is, while messages are lost',
  peers: 12,
  durationMs: 30_000,
  workload: { everyMs: 500, servicesMax: 20 },
  founders: () => 1,
  faults: ({ random }) => [fault('loss', 0, 20_000, [], random.integer(1, 20))],
  async drive(world) {
    const random = world.random.fork('joins')
    const joiners = world.hosts.filter(({ id }) => !world.invited.has(id))
    await Promise.all(
      joiners.map(async (host) => {
        await world.scheduler.sleep(random.between(0, 5_000))
        await join(world, host, random.float())
      })
    )
  }
}

/** An operator tries again when a join breaks off, by another member. */
async function join(world: World, host: World['hosts'][number], dice: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const admins = world.up().filter(({ id }) => world.admins.has(id))
    const by = admins[Math.floor(dice * admins.length)] ?? admins[0]
    try {
      if (by == null) throw new ArcticError('unavailable', 'nobody is there', {})
      await world.enter(host, by, dice < 0.3 ? 'admin' : 'member')
      return
    } catch (error) {
      if (!(error instanceof ArcticError) || error.code === 'internal') throw error
      if (error.code === 'already_in_cluster') return
      await world.scheduler.sleep(1_000 + attempt * 500)
    }
  }
}
