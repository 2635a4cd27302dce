import type { PeerRecord, RouteRecord, ServiceRecord, TokenRecord } from '../../../src/crdt/schema.ts'
import type { Member, View } from '../../../src/crdt/view.ts'

/** Ids that look like the real ones: `12D3KooW` and a name; 26 characters that sort by number. */
export const peerId = (name: string): string => `12D3KooW${name.toUpperCase().padEnd(44, 'x')}`
export const ulid = (n: number): string => `01J${n.toString(32).toUpperCase().padStart(23, '0')}`

export const peerRecord = (name: string, more: Partial<PeerRecord> = {}): PeerRecord => ({
  id: peerId(name),
  name,
  mesh_addresses: [`/ip4/10.9.0.${name.charCodeAt(0) % 250}/tcp/7946`],
  data_addresses: [`10.9.0.${name.charCodeAt(0) % 250}:7947`],
  pegasus_key: `pegasus-${name}`,
  tempest_key: `tempest-${name}`,
  version: '0.1.0',
  ...more
})

export const member = (name: string, record: PeerRecord | null = peerRecord(name)): Member => ({
  id: peerId(name),
  name,
  role: 'admin',
  admittedBy: peerId(name),
  admittedAt: '2026-01-01T00:00:00.000Z',
  record
})

export const service = (
  n: number,
  source: string,
  target: string,
  more: Partial<ServiceRecord> = {}
): ServiceRecord => ({
  id: ulid(n),
  name: `service-${n}`,
  source_peer_id: peerId(source),
  target_peer_id: peerId(target),
  transport_type: 'tcp',
  requires_interface: false,
  desired_ipv4_cidr: null,
  desired_ipv6_cidr: null,
  bandwidth_limit_mbps: 0,
  fully_transparent: false,
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  ...more
})

export const route = (n: number, serviceNumber: number, more: Partial<RouteRecord> = {}): RouteRecord => ({
  id: ulid(n),
  service_id: ulid(serviceNumber),
  source_cidr: null,
  dest_cidr: `10.2.${n % 250}.0/24`,
  priority: 100,
  ...more
})

export function viewOf(
  members: Member[],
  services: ServiceRecord[] = [],
  routes: RouteRecord[] = [],
  revision = 1,
  tokens: TokenRecord[] = []
): View {
  const routesOf = new Map<string, RouteRecord[]>()
  for (const one of routes) routesOf.set(one.service_id, [...(routesOf.get(one.service_id) ?? []), one])
  return {
    revision,
    cluster: members.length === 0 ? null : { id: 'cluster-1', name: 'lab' },
    members: new Map(members.map((one) => [one.id, one])),
    services: new Map(services.map((one) => [one.id, one])),
    routes: new Map(routes.map((one) => [one.id, one])),
    routesOf,
    tokens: new Map(tokens.map((one) => [one.id, one])),
    policy: { max_services: null },
    rejected: [],
    heads: [`head-${revision}`]
  }
}
