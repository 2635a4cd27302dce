import { DEFAULT_PRIORITY, type RouteRecord, type ServiceRecord } from '../../crdt/schema.ts'
import { type Current, type MeshFile, type MeshRoute, type MeshService, SERVICE_DEFAULTS } from './mesh-file.ts'

/** Everything that a file can say of the mesh, in an order that does not depend on ids, so that it can be kept in git. */
export function exportMesh(current: Current): MeshFile {
  const describe = describer(current)
  return { services: current.services.toSorted(by(({ name, id }) => `${name}\0${id}`)).map(describe) }
}

/** How a file describes a service: no field that has its default, no id where the name is enough. */
export function describer({ services, routes, peers }: Current): (service: ServiceRecord) => MeshService {
  const named = count(services.map(({ name }) => name))
  const peerNames = count(peers.map(({ name }) => name))
  const nameOf = new Map(peers.map(({ id, name }) => [id, name]))
  const peer = (id: string): string => {
    const name = nameOf.get(id)
    return name != null && peerNames.get(name) === 1 ? name : id
  }
  const routesOf = Map.groupBy(routes, ({ service_id }) => service_id)
  return (service) => ({
    ...(named.get(service.name) === 1 ? {} : { id: service.id }),
    name: service.name,
    source_peer: peer(service.source_peer_id),
    target_peer: peer(service.target_peer_id),
    ...unlessDefault(service),
    routes: describeRoutes(routesOf.get(service.id) ?? [])
  })
}

function unlessDefault(service: ServiceRecord): Partial<MeshService> {
  const fields = Object.entries(SERVICE_DEFAULTS).flatMap(([field, fallback]) => {
    const value = service[field as keyof typeof SERVICE_DEFAULTS]
    return value === fallback ? [] : [[field, value]]
  })
  return Object.fromEntries(fields) as Partial<MeshService>
}

/** Two routes that say the same are one. */
function describeRoutes(routes: readonly RouteRecord[]): MeshRoute[] {
  const described = routes.map(({ source_cidr, dest_cidr, priority }) => ({
    ...(source_cidr == null ? {} : { source_cidr }),
    ...(dest_cidr == null ? {} : { dest_cidr }),
    ...(priority === DEFAULT_PRIORITY ? {} : { priority })
  }))
  const byText = new Map(described.map((route) => [JSON.stringify(route), route]))
  return [...byText].toSorted(by(([text]) => text)).map(([, route]) => route)
}

function count(names: ReadonlyArray<string | null>): Map<string | null, number> {
  const counts = new Map<string | null, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

const by =
  <T>(key: (value: T) => string) =>
  (a: T, b: T): number => {
    const [x, y] = [key(a), key(b)]
    return x < y ? -1 : x > y ? 1 : 0
  }
