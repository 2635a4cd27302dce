import type { PeerId, RouteId, RouteRecord, ServiceId, ServicePatch, ServiceRecord } from '../../crdt/schema.ts'

/**
 * A mesh as an operator keeps it in a file: services by name, peers by name. A service in it is described whole: what
 * is left out has its default. Services that are not in it are none of its business, unless it is applied with `prune`.
 */
export interface MeshFile {
  services: MeshService[]
}

export interface MeshService extends Omit<ServicePatch, 'name'> {
  /** Only where several services have one name; else the name says which one is meant. */
  id?: ServiceId | undefined
  name: string
  /** Id, unique id prefix or name. */
  source_peer: string
  target_peer: string
  routes?: MeshRoute[]
}

export interface MeshRoute {
  source_cidr?: string | null
  dest_cidr?: string | null
  priority?: number
}

/** What there is, as far as a file can say it. */
export interface Current {
  services: readonly ServiceRecord[]
  routes: readonly RouteRecord[]
  peers: ReadonlyArray<{ id: PeerId; name: string | null; state: 'discovered' | 'admitted' | 'revoked' }>
}

/** Fields that a file says of a service and an update can change, with what they are when nothing is said. */
export const SERVICE_DEFAULTS = {
  transport_type: 'tcp',
  requires_interface: false,
  desired_ipv4_cidr: null,
  desired_ipv6_cidr: null,
  bandwidth_limit_mbps: 0,
  fully_transparent: false
} as const satisfies Omit<Required<ServicePatch>, 'name'>

/**
 * One step of a plan. A service that is made or deleted carries its routes along, in the form of the file; of one that
 * is changed, `before` and `after` hold the fields that differ.
 */
export type Change = ServiceChange | RouteChange

interface Of {
  /** The service's name before the step. */
  service: string
  /** Null for one that is to be made. */
  service_id: ServiceId | null
  route_id: RouteId | null
}

export type ServiceChange = Of & { kind: 'service' } & (
    | { action: 'create'; before: null; after: MeshService }
    | { action: 'update'; before: ServicePatch; after: ServicePatch }
    | { action: 'delete'; before: MeshService; after: null }
  )

export type RouteChange = Of & { kind: 'route' } & (
    | { action: 'create'; before: null; after: Required<MeshRoute> }
    | { action: 'update'; before: Required<MeshRoute>; after: Required<MeshRoute> }
    | { action: 'delete'; before: Required<MeshRoute>; after: null }
  )

/** What takes a step back. Whoever runs it must not expect an old id: what was deleted is made anew. */
export function inverse(change: Change): Change {
  const { action, before, after } = change
  const opposite = { create: 'delete', update: 'update', delete: 'create' } as const
  return { ...change, action: opposite[action], before: after, after: before } as Change
}

/** Ids and names that tell a route from its service's others. */
export const routeFields = ({ source_cidr, dest_cidr, priority }: RouteRecord): Required<MeshRoute> => ({
  source_cidr,
  dest_cidr,
  priority
})

/** Equal for routes that say the same. */
export const routeKey = (route: Required<MeshRoute>): string => `${pairKey(route)} ${route.priority}`

/** Equal for routes that take the same packets. */
export const pairKey = ({ source_cidr, dest_cidr }: Required<MeshRoute>): string => `${source_cidr} ${dest_cidr}`
