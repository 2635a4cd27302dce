import { append } from '../../append.ts'
import type { PeerId, RouteRecord, ServicePatch, ServiceRecord } from '../../crdt/schema.ts'
import { newRoute, newService } from '../../crdt/validate.ts'
import { ArcticError, InvalidRequestError, PeerNotFoundError, TargetPeerNotAdmittedError } from '../../errors.ts'
import { describer } from './export.ts'
import {
  type Change,
  type Current,
  type MeshFile,
  type MeshService,
  pairKey,
  type RouteChange,
  routeFields,
  routeKey,
  SERVICE_DEFAULTS
} from './mesh-file.ts'

/**
 * The steps from what there is to what a file says. Pure; throws ArcticError naming the service when the file asks for
 * what cannot be, so that a plan that exists can be carried out.
 * 1. Each service of the file is checked as the API checks one that is created, with its routes.
 * 2. The one that there is by its id, or by its name, is compared field by field; peers cannot be changed.
 * 3. Routes are a set; of two that differ in priority alone, the one becomes the other.
 * 4. With `prune`, services that the file does not name are deleted.
 */
export function planMesh(file: MeshFile, current: Current, { prune = false } = {}): Change[] {
  const byName = Map.groupBy(current.services, ({ name }) => name)
  const byId = new Map(current.services.map((service) => [service.id, service]))
  const routesOf = Map.groupBy(current.routes, ({ service_id }) => service_id)
  const describe = describer(current)
  const findPeer = peerFinder(current.peers)
  const kept = new Set<string>()
  const said = new Set<string>()
  const changes: Change[] = []
  for (const [index, entry] of file.services.entries()) {
    explained(entry, index, () => {
      const want = wanted(entry, findPeer)
      const have = find(entry, byId, byName)
      const key = have?.id ?? `name ${entry.name}`
      if (said.has(key)) throw new InvalidRequestError('the file says it twice; keep one of them')
      said.add(key)
      if (have == null) {
        const { id: _, ...after } = describeWanted(entry, want)
        changes.push({ kind: 'service', action: 'create', ...of(entry.name, null), before: null, after })
        return
      }
      kept.add(have.id)
      append(changes, compare(have, routesOf.get(have.id) ?? [], want))
    })
  }
  if (prune) {
    for (const service of current.services) {
      if (kept.has(service.id)) continue
      const where = of(service.name, service.id)
      changes.push({ kind: 'service', action: 'delete', ...where, before: describe(service), after: null })
    }
  }
  return changes
}

interface Wanted {
  service: ServiceRecord
  routes: RouteRecord[]
}

const NO_ID = '00000000000000000000000000'
const NO_TIME = '1970-01-01T00:00:00.000Z'

const of = (
  service: string,
  service_id: string | null
): { service: string; service_id: string | null; route_id: null } => ({
  service,
  service_id,
  route_id: null
})

function wanted(entry: MeshService, findPeer: (text: string, target: boolean) => PeerId): Wanted {
  const { id: _, source_peer, target_peer, routes = [], ...fields } = entry
  const peers = { source_peer_id: findPeer(source_peer, false), target_peer_id: findPeer(target_peer, true) }
  const service = newService({ ...fields, ...peers }, NO_ID, NO_TIME)
  const checked = routes.map((route, index) => {
    try {
      return newRoute(route, NO_ID, service)
    } catch (error) {
      throw prefixed(error, `routes[${index}]: `)
    }
  })
  return { service, routes: distinct(checked) }
}

/** The entry in canonical form: CIDRs as everybody writes them. */
const describeWanted = ({ source_peer, target_peer }: MeshService, { service, routes }: Wanted): MeshService => ({
  ...describer({ services: [service], routes, peers: [] })(service),
  source_peer,
  target_peer
})

function find(
  { id, name }: MeshService,
  byId: ReadonlyMap<string, ServiceRecord>,
  byName: ReadonlyMap<string, ServiceRecord[]>
): ServiceRecord | null {
  if (id != null) {
    const service = byId.get(id)
    if (service == null) {
      // As after an export of another cluster, where two services had this name.
      const next = 'leave the id out to create it, under a name that no other service has'
      throw new ArcticError('service_not_found', `no service here has the id ${id}; ${next}`, { service_id: id })
    }
    return service
  }
  const named = byName.get(name) ?? []
  if (named.length <= 1) return named[0] ?? null
  const ids = named.map((service) => service.id)
  throw new InvalidRequestError(`${named.length} services have this name; add the id of one: ${ids.join(', ')}`, {
    ids
  })
}

function compare(have: ServiceRecord, routes: readonly RouteRecord[], want: Wanted): Change[] {
  for (const field of ['source_peer_id', 'target_peer_id'] as const) {
    if (have[field] === want.service[field]) continue
    throw new InvalidRequestError(
      `its ${field.slice(0, 6)} peer is ${have[field]} and cannot be changed; delete the service first, or give the new one another name`,
      { field: field.slice(0, -3) }
    )
  }
  const where = of(have.name, have.id)
  const fields = (['name', ...Object.keys(SERVICE_DEFAULTS)] as Array<keyof ServicePatch>).filter(
    (field) => have[field] !== want.service[field]
  )
  const pick = (service: ServiceRecord): ServicePatch =>
    Object.fromEntries(fields.map((field) => [field, service[field]]))
  const changes: Change[] =
    fields.length === 0
      ? []
      : [{ kind: 'service', action: 'update', ...where, before: pick(have), after: pick(want.service) }]
  return [...changes, ...compareRoutes(where, routes, want.routes)]
}

function compareRoutes(
  where: { service: string; service_id: string | null },
  have: readonly RouteRecord[],
  want: readonly RouteRecord[]
): RouteChange[] {
  const wantKeys = new Set(want.map(routeKey))
  const haveKeys = new Set(have.map(routeKey))
  const surplus = new Set(have.filter((route) => !wantKeys.has(routeKey(route))))
  const twins = Map.groupBy(surplus, pairKey)
  const changes: RouteChange[] = []
  for (const route of want) {
    if (haveKeys.has(routeKey(route))) continue
    const after = routeFields(route)
    const twin = twins.get(pairKey(route))?.shift()
    if (twin == null) {
      changes.push({ kind: 'route', action: 'create', ...where, route_id: null, before: null, after })
      continue
    }
    surplus.delete(twin)
    changes.push({ kind: 'route', action: 'update', ...where, route_id: twin.id, before: routeFields(twin), after })
  }
  for (const route of surplus) {
    const before = routeFields(route)
    changes.push({ kind: 'route', action: 'delete', ...where, route_id: route.id, before, after: null })
  }
  return changes
}

const distinct = (routes: RouteRecord[]): RouteRecord[] => [
  ...new Map(routes.map((route) => [routeKey(route), route])).values()
]

/** By id, by the name of a member, or by a prefix of the id that only one peer has. */
export function peerFinder(peers: Current['peers']): (text: string, target: boolean) => PeerId {
  const found = new Map<string, Current['peers'][number]>()
  const look = (text: string): Current['peers'][number] => {
    const exact = peers.find(({ id }) => id === text)
    if (exact != null) return exact
    const named = peers.filter(({ name }) => name === text)
    const members = named.filter(({ state }) => state === 'admitted')
    const byName = members.length > 0 ? members : named
    const matches = byName.length > 0 || text === '' ? byName : peers.filter(({ id }) => id.startsWith(text))
    if (matches[0] == null) throw new PeerNotFoundError(text)
    if (matches.length > 1) throw new PeerNotFoundError(text, `it could mean ${matches.length} peers`)
    return matches[0]
  }
  return (text, target) => {
    let peer = found.get(text)
    if (peer == null) found.set(text, (peer = look(text)))
    if (peer.state === 'admitted') return peer.id
    if (target) throw new TargetPeerNotAdmittedError(text, peer.state)
    throw new InvalidRequestError(`source peer "${text}" is ${peer.state}, not admitted; only members carry traffic`)
  }
}

function explained(entry: MeshService, index: number, run: () => void): void {
  try {
    run()
  } catch (error) {
    throw prefixed(error, `services[${index}] "${entry.name}": `, { service: entry.name })
  }
}

const prefixed = (error: unknown, text: string, details: Record<string, unknown> = {}): unknown =>
  error instanceof ArcticError
    ? new ArcticError(error.code, `${text}${error.message}`, { ...error.details, ...details })
    : error
