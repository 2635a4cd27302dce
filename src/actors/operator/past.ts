import type { Past } from '../../crdt/past.ts'
import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import type { DepartedMember, Member } from '../../crdt/view.ts'
import { sourceSide } from '../reconcile/desired.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { bareRouteJson, bareServiceJson } from './json.ts'
import type { PastAnswers, PastPeerJson, PastRouteJson, PastServiceJson, RouteTestJson } from './operator.ts'
import { nameOfPeer, resolvePeer } from './peer-ref.ts'
import { byName } from './peers.ts'
import { deviceName, testRouteIn, type RouteTestInput } from './route-test.ts'
import { findService } from './service-ref.ts'
import { readMoment } from './time.ts'

/** The cluster as it was at a moment; what nobody wrote down (status, reachability) is null. */
export async function pastAnswers(deps: OperatorDeps, at: string): Promise<PastAnswers> {
  clusterView(deps)
  return new PastNouns(deps, await deps.replica.past(readMoment(at)))
}

class PastNouns implements PastAnswers {
  readonly #deps: OperatorDeps
  readonly #past: Past

  constructor(deps: OperatorDeps, past: Past) {
    this.#deps = deps
    this.#past = past
  }

  listServices(filter: { target_peer_id?: string; source_peer_id?: string }): PastServiceJson[] {
    const { view } = this.#past
    const named = (text: string | undefined): string | null =>
      text == null ? null : resolvePeer(text, view, NOBODY_ELSE)
    const [source, target] = [named(filter.source_peer_id), named(filter.target_peer_id)]
    return [...view.services.values()]
      .filter((service) => source == null || service.source_peer_id === source)
      .filter((service) => target == null || service.target_peer_id === target)
      .map(serviceThen)
  }

  getService(id: string): PastServiceJson {
    return serviceThen(findService(id, this.#past.view))
  }

  listRoutes(service?: string): PastRouteJson[] {
    const { view } = this.#past
    const routes = service == null ? view.routes.values() : (view.routesOf.get(findService(service, view).id) ?? [])
    return [...routes].map(routeThen)
  }

  listPeers({ all = false }: { all?: boolean }): PastPeerJson[] {
    const { view } = this.#past
    const departed = all ? [...(view.departed?.values() ?? [])] : []
    return [
      ...[...view.members.values()].map(memberThen),
      ...departed.map((peer) => departedThen(peer, nameOfPeer(peer.by, view)))
    ].sort(byName)
  }

  testRoute(input: RouteTestInput): RouteTestJson {
    const { view } = this.#past
    const { self } = this.#deps.mesh
    const services = [...view.services.values()].filter(({ source_peer_id }) => source_peer_id === self)
    return testRouteIn(this.#deps, input, {
      view,
      outbound: services.map((service) => sourceSide(view, service)),
      deviceOf: (source) => deviceAsked(services, source),
      originOf: (kind, id) => this.#past.originOf(kind, id)
    })
  }
}

/** In the past there are only those that the cluster knew. */
const NOBODY_ELSE = { peers: () => [] }

const serviceThen = (service: ServiceRecord): PastServiceJson => ({ ...bareServiceJson(service), status: null })

const routeThen = (route: RouteRecord): PastRouteJson => ({ ...bareRouteJson(route), status: null })

const memberThen = ({ id, name, role, record }: Member): PastPeerJson => ({
  id,
  name,
  state: 'admitted',
  role,
  addresses: [...(record?.mesh_addresses ?? [])],
  reachable: null,
  rtt_ms: null,
  last_seen_at: null,
  version: record?.version ?? null,
  keys: null,
  departure: null,
  tunnels: []
})

const departedThen = ({ id, name, how, by, at }: DepartedMember, by_name: string | null): PastPeerJson => ({
  id,
  name,
  state: how === 'left' ? 'discovered' : 'revoked',
  role: null,
  addresses: [],
  reachable: null,
  rtt_ms: null,
  last_seen_at: null,
  version: null,
  keys: null,
  departure: { how, by, by_name, at, confirmed_by: [], awaited: [] },
  tunnels: []
})

/** The device whose service had asked for this address. */
function deviceAsked(services: readonly ServiceRecord[], source: string): string | null {
  const found = services.find(({ desired_ipv4_cidr: v4, desired_ipv6_cidr: v6 }) =>
    [v4, v6].some((cidr) => cidr?.split('/')[0] === source)
  )
  return found == null ? null : deviceName(found.id)
}
