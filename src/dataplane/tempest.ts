import type { PeerId } from '../crdt/schema.ts'
import type { DesiredState, HostKeys, TunnelCounters } from './desired.ts'
import { tunnelKeepaliveSeconds, tunnelMtuBytes } from './limits.ts'
import { peerKeys, type PeerKeys } from './peer-keys.ts'

/** The state Tempest is told (engines/PROTOCOL.md, "Tempest state"). */
export interface TempestState {
  data_listen: string
  self: PeerId
  bypass_mark: number
  tunnels: ({
    peer_id: PeerId
    endpoints: string[]
    device: string
    mtu: number
    keepalive_s: number
  } & PeerKeys)[]
}

export interface TempestStats {
  tunnels: {
    peer_id: PeerId
    device: string
    endpoint: string | null
    handshake_at_ms: number | null
    bytes_in: number
    bytes_out: number
    packets_in: number
    packets_out: number
    dropped: number
  }[]
  refused_total: number
  events_dropped: number
  rss_bytes: number
}

/** `devices` holds the TUN device of every peer that has one; others are left out. */
export function tempestState(
  desired: DesiredState,
  {
    dataListen,
    bypassMark,
    devices,
    keys
  }: {
    dataListen: string
    bypassMark: number
    devices: ReadonlyMap<PeerId, string>
    keys: Pick<HostKeys, 'before' | 'known'>
  }
): TempestState {
  return {
    data_listen: dataListen,
    self: desired.self,
    bypass_mark: bypassMark,
    tunnels: desired.peers.flatMap((peer) => {
      const { id, dataAddresses } = peer
      const device = devices.get(id)
      if (device == null) return []
      return [
        {
          peer_id: id,
          ...peerKeys('tempest', peer, keys),
          endpoints: dataAddresses,
          device,
          mtu: tunnelMtuBytes,
          keepalive_s: tunnelKeepaliveSeconds
        }
      ]
    })
  }
}

export const tunnelCounters = ({ tunnels }: TempestStats): TunnelCounters[] =>
  tunnels.map((tunnel) => ({
    peer: tunnel.peer_id,
    device: tunnel.device,
    endpoint: tunnel.endpoint,
    handshakeAt: tunnel.handshake_at_ms,
    bytesIn: tunnel.bytes_in,
    bytesOut: tunnel.bytes_out
  }))

/**
 * Numbers for tunnels: a mark, a table and a zone follow from each, so a peer keeps its number as long as it is wanted,
 * across restarts too (`indexes` in tempest/config.json). Peers beyond `max` get none.
 */
export function assignIndexes(
  peers: readonly PeerId[],
  known: ReadonlyMap<PeerId, number>,
  max: number
): Map<PeerId, number> {
  const kept = new Map<PeerId, number>()
  const used = new Set<number>()
  for (const peer of peers) {
    const index = known.get(peer)
    if (index == null || !Number.isInteger(index) || index < 1 || index > max || used.has(index)) continue
    kept.set(peer, index)
    used.add(index)
  }
  let next = 1
  for (const peer of peers) {
    if (kept.has(peer)) continue
    while (used.has(next)) next++
    if (next > max) break
    kept.set(peer, next)
    used.add(next)
  }
  return kept
}
