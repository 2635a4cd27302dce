import { newerActorOf, noveltiesOf } from '../host/newer.ts'
import type { Checker } from './checker.ts'

/** What an operator was told is done stays done: on every member, over crashes, torn disks and partitions. */
export const durability: Checker = {
  name: 'durability',
  about: 'no acknowledged change is lost, and none is undone',
  atRest(world) {
    const [reader] = world.up()
    if (reader != null && world.novelties.size > 0) {
      const held = noveltiesOf(reader)
      for (const [path, { value, author }] of world.novelties) {
        // Each is written by the change of that number, which may have been cut off with its author, or with one whose it builds on.
        const outcast = world.outcasts.get(author.id)
        if (outcast != null && (outcast.kept[newerActorOf(author)] ?? 0) < value) continue
        if (world.outcasts.has(held.felledBy(author, value) ?? '')) continue
        const [kind, id = ''] = path.split(' ')
        const isGone = kind === 'services' && !reader.agent!.replica.view().services.has(id)
        const found = held.at(path)
        if (!isGone && found !== value)
          world.violate('durability', `what a newer version wrote is lost: ${path} is ${String(found)}, not ${value}`)
      }
    }
    for (const host of world.up()) {
      const vector = host.agent!.replica.vector()
      for (const [actor, { seq, host: author }] of world.acks) {
        const outcast = world.outcasts.get(author.id)
        const promised = outcast == null ? seq : Math.min(seq, outcast.kept[actor] ?? 0)
        if ((vector[actor] ?? 0) < promised) {
          world.violate(
            'durability',
            `${host.name} lacks change ${promised} that ${author.name} acknowledged; it has ${vector[actor] ?? 0}`
          )
        }
      }
      const { services } = host.agent!.replica.view()
      for (const [id, { created, removalAsked, removals }] of world.services) {
        if (world.counts(created) === true && !removalAsked && !services.has(id))
          world.violate('durability', `${host.name} lost the service ${id}`)
        const removed = removals.some((removal) => world.counts(removal) === true)
        if (removed && services.has(id)) world.violate('durability', `${host.name} still has the removed service ${id}`)
      }
    }
  }
}
