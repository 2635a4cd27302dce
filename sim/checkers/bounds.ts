import { streamsPerProtocolMax } from '../../src/mesh/limits.ts'
import type { Checker } from './checker.ts'

const protocols = 6
const streamsOfOneMax = protocols * streamsPerProtocolMax

/**
 * What grows without end shows here long before memory does, and on every machine alike: counts of what an agent holds,
 * against bounds that follow from the product's limits and the number of peers.
 */
export const bounds: Checker = {
  name: 'bounds',
  about: 'timers, streams, connections, queues and logs stay within what the peers and changes explain',
  always(world) {
    const peers = world.hosts.length
    const changes =
      world.acks.values().reduce((sum, { seq }) => sum + seq, 0) +
      world.hosts.reduce((sum, { lives }) => sum + 2 * lives, 0)
    const check = (who: string, what: string, count: number, max: number): void => {
      if (count > max) world.violate('bounds', `${who} has more than ${max} ${what}`)
    }
    for (const host of world.up()) {
      const { network, clock } = host.agent!
      const { channels, connections, remembered } = network.load()
      // A redial, a dial and a ping with their deadlines per peer, a deadline for each stream, and some for itself.
      check(host.name, 'timers', clock.pending, 64 + 12 * peers + channels)
      check(host.name, 'connections', connections, 64 + 3 * peers)
      // Who is hostile may hold as many of each protocol as a connection has room for.
      check(host.name, 'streams', channels, 64 + 8 * peers + streamsOfOneMax * (1 + world.outcasts.size))
      check(host.name, 'gossip ids', remembered, 4_096 + 256 * peers + 64 * changes)
      check(host.name, 'bytes on disk', host.disk.bytes, 512 * 1024 + 8 * 1024 * changes)
    }
    check('the wire', 'messages on hold', world.wire.held, 4_096 * peers)
  }
}
