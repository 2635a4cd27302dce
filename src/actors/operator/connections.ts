import { isoTime } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { UnavailableError } from '../../errors.ts'
import type { OperatorDeps } from './deps.ts'
import { nameOfPeer } from './peer-ref.ts'

/** What goes through one agent's host now, carried by a service or not: what a change of routes may take, move or lose. */
export interface ConnectionsJson {
  at: string
  peer_id: PeerId
  peer_name: string | null
  /** Who began it and with whom, each pair of addresses once. */
  connections: Array<{ source: string; dest: string }>
  /** There are more than these. */
  more: boolean
}

/** What admins among the members ask with it. */
export const CONNECTIONS = 'connections'

export async function connectionsOf({
  dataplane,
  mesh,
  replica,
  clock
}: Pick<OperatorDeps, 'dataplane' | 'mesh' | 'replica' | 'clock'>): Promise<ConnectionsJson> {
  const tracked = await dataplane.tracked?.()
  if (tracked == null) throw new UnavailableError('this peer runs with --dataplane none and does not look at its host')
  const { flows, more } = tracked
  const peer = mesh.self
  return {
    at: isoTime(clock.now()),
    peer_id: peer,
    peer_name: nameOfPeer(peer, replica.view()),
    connections: flows,
    more
  }
}
