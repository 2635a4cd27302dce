import { cluster, Peer, type PeerOptions } from '../lab/peer.ts'
import type { TwoSites } from '../lab/topology.ts'

/** Agents on both edges, in one cluster. */
export async function pairOn({ edgeA, edgeB }: TwoSites, options: PeerOptions = {}): Promise<readonly [Peer, Peer]> {
  const peers = [new Peer(edgeA, options), new Peer(edgeB, options)] as const
  await Promise.all(peers.map((peer) => peer.start()))
  await cluster(...peers)
  return peers
}

/** Carries what edge-a gets for these destinations to edge-b; answers the service's id once both ends have it in force. */
export async function carry(
  peers: readonly [Peer, Peer],
  destination = '10.2.0.0/24',
  flags: readonly string[] = []
): Promise<string> {
  const routes = [['--dest-cidr', destination]]
  const { id } = await peers[0].connect({ source: 'edge-a', target: 'edge-b', routes, flags })
  await Promise.all(peers.map((peer) => peer.active(id)))
  return id
}
