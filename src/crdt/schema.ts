/**
 * The records that the replicated state is made of. What is written here is what an operator asked for; nothing that
 * changes by itself (liveness, rtt, counters, applied state) ever enters the document.
 */

/** A libp2p peer id in base58, `12D3KooW…`. It is the hash-free encoding of the peer's Ed25519 public key. */
export type PeerId = string
/** ULIDs, 26 characters, upper case. */
export type ServiceId = string
export type RouteId = string
export type TokenId = string

export type TransportType = 'tcp' | 'kcp'
export type Role = 'member' | 'admin'

/** What a peer says of itself. Only the peer itself may write it. */
export interface PeerRecord {
  id: PeerId
  name: string
  /** Multiaddrs that other peers dial for the mesh, without the `/p2p/…` part. */
  mesh_addresses: string[]
  /** `HOST:PORT` / `[v6]:PORT` of the data port: Pegasus on TCP, Tempest on UDP. IP addresses, no names. */
  data_addresses: string[]
  /** X25519 public keys, 32 bytes in base64: Noise static key of Pegasus, WireGuard key of Tempest. */
  pegasus_key: string
  tempest_key: string
  /** When these keys were made, by this peer's clock: ISO 8601 UTC. Agents from before there was a change of keys say nothing. */
  keys_made_at?: string | null
  /** The keys before them, Pegasus' and Tempest's, as long as handshakes with those are still good. */
  keys_before?: string[] | null
  version: string
}

export interface ServiceRecord {
  id: ServiceId
  name: string
  source_peer_id: PeerId
  target_peer_id: PeerId
  transport_type: TransportType
  requires_interface: boolean
  desired_ipv4_cidr: string | null
  desired_ipv6_cidr: string | null
  /** Mbit/s of TCP payload per direction; 0 = unlimited. */
  bandwidth_limit_mbps: number
  fully_transparent: boolean
  /** ISO 8601 UTC with milliseconds. */
  created_at: string
  updated_at: string
}

export interface RouteRecord {
  id: RouteId
  service_id: ServiceId
  source_cidr: string | null
  dest_cidr: string | null
  priority: number
}

/** A token of the HTTP API. It is never changed, only made and revoked. */
export interface TokenRecord {
  id: TokenId
  name: string
  /** SHA-256 of the secret, hex. */
  hash: string
  scopes: string[]
  /** ISO 8601 UTC with milliseconds. */
  created_at: string
  expires_at: string
}

/** What the cluster allows itself; null is no limit. */
export interface Policy {
  max_services: number | null
}

export const DEFAULT_PRIORITY = 100

/** What an operator may set when a service is made; the rest has defaults. */
export type ServiceInput = Pick<ServiceRecord, 'source_peer_id' | 'target_peer_id'> &
  Partial<Omit<ServiceRecord, 'id' | 'source_peer_id' | 'target_peer_id' | 'created_at' | 'updated_at'>>
/** What may be changed later; a service's peers cannot. */
export type ServicePatch = Partial<
  Omit<ServiceRecord, 'id' | 'source_peer_id' | 'target_peer_id' | 'created_at' | 'updated_at'>
>
export type RouteInput = Partial<Pick<RouteRecord, 'source_cidr' | 'dest_cidr' | 'priority'>>
export type RoutePatch = RouteInput
