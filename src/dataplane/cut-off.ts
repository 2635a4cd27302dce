import type { PeerId, TransportType } from '../crdt/schema.ts'
import type { AppliedFailure } from './desired.ts'
import { cutOffAfterMs } from './limits.ts'
import type { PegasusStats } from './pegasus.ts'

/** Peers to which Pegasus has had no way by a transport for some time, with what it says of it. */
export type CutOffPeers = ReadonlyMap<string, AppliedFailure>

export const roadTo = (peer: PeerId, transport: TransportType): string => `${transport} ${peer}`

/**
 * The mesh may reach a peer whose data port it cannot: a firewall between them, KCP's UDP not let through. A peer that does not
 * know this host yet, or whose engine starts again, is down for moments and not told.
 */
export class CutOff {
  #since = new Map<string, number>()
  #peers: CutOffPeers = new Map()

  get peers(): CutOffPeers {
    return this.#peers
  }

  /** Takes in what Pegasus says now; answers whether others are cut off than before. */
  see(peers: PegasusStats['peers'], now: number): boolean {
    const since = new Map<string, number>()
    const cut = new Map<string, AppliedFailure>()
    for (const { peer_id, transport, state, address, error } of peers) {
      if (state !== 'down') continue
      const road = roadTo(peer_id, transport)
      const began = this.#since.get(road) ?? now
      since.set(road, began)
      if (now - began < cutOffAfterMs) continue
      const where = address == null ? '' : ` at ${address}`
      const message = `no flow over ${transport} reaches the target peer: ${error ?? 'no answer'}${where}; see that nothing between them drops it`
      cut.set(road, this.#peers.get(road) ?? { reason: 'CarriersDown', message })
    }
    this.#since = since
    if (cut.size === this.#peers.size && [...cut.keys()].every((road) => this.#peers.has(road))) return false
    this.#peers = cut
    return true
  }
}
