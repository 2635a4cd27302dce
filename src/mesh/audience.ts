import type { PeerId } from '../crdt/schema.ts'
import type { Audience, Network } from './network.ts'
import type { Roster } from './presence/roster.ts'

/**
 * Whom to tell so that every member hears of it that can. As a rule each member is connected to each, and what its author
 * says to all of them need not be said again. Only for the sake of a member that somebody else reaches, and this peer does
 * not, has everybody to hand it on; of such a member this peer hears by beats that were handed on (see `Presence`).
 */
export function audienceFor(
  members: Iterable<PeerId>,
  { network, roster }: { network: Pick<Network, 'self' | 'connected'>; roster: Pick<Roster, 'isApart'> }
): Audience {
  const connected = new Set(network.connected())
  for (const peer of members) {
    if (peer !== network.self && !connected.has(peer) && roster.isApart(peer)) return 'all'
  }
  return 'connected'
}
