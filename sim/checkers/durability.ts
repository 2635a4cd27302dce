import type { Checker } from './checker.ts'

/** What an operator was told is done stays done: on every member, over crashes, torn disks and partitions. */
export const durability: Checker = {
  name: 'durability',
  about: 'no acknowledged change is lost, and none is undone',
  atRest(world) {
    for (const host of world.up()) {
      const vector = host.agent!.replica.vector()
      for (const [actor, { seq, host: author }] of world.acks) {
        if ((vector[actor] ?? 0) < seq) {
          world.violate(
            'durability',
            `${host.name} lacks change ${seq} that ${author.name} acknowledged; it has ${vector[actor] ?? 0}`
          )
        }
      }
      const { services } = host.agent!.replica.view()
      for (const [id, { created, removalAsked, removed }] of world.services) {
        if (created && !removalAsked && !services.has(id))
          world.violate('durability', `${host.name} lost the service ${id}`)
        if (removed && services.has(id)) world.violate('durability', `${host.name} still has the removed service ${id}`)
      }
    }
  }
}
