import type { Draft } from '../../actors/operator/draft.ts'
import type { RouteRecord, ServiceRecord } from '../../crdt/schema.ts'
import { newRoute, newService, patchRoute, patchService } from '../../crdt/validate.ts'
import type { Change, Current, MeshRoute, MeshService } from './mesh-file.ts'
import { peerFinder } from './plan.ts'

/**
 * What steps of a plan come to, as records. What is yet to be made has ids that no ULID of today has and that sort after
 * all of them, as those of new objects do: `7NEW00001…`. Pure.
 */
export function draftOf(changes: readonly Change[], current: Current): Draft {
  const findPeer = peerFinder(current.peers)
  const services = new Map(current.services.map((service) => [service.id, service]))
  const routes = new Map(current.routes.map((route) => [route.id, route]))
  const draft = {
    services: new Map<string, ServiceRecord>(),
    routes: new Map<string, RouteRecord>(),
    gone: { services: [] as string[], routes: [] as string[] }
  }
  let made = 0
  const newId = (): string => `7NEW${String(++made).padStart(5, '0')}`.padEnd(26, '0')
  const addRoute = (route: MeshRoute, service: ServiceRecord): void => {
    const record = newRoute(route, newId(), service)
    draft.routes.set(record.id, record)
  }
  const create = (wanted: MeshService): void => {
    const { id: _, source_peer, target_peer, routes: wantedRoutes = [], ...fields } = wanted
    const peers = { source_peer_id: findPeer(source_peer, false), target_peer_id: findPeer(target_peer, true) }
    const service = newService({ ...fields, ...peers }, newId(), NO_TIME)
    draft.services.set(service.id, service)
    for (const route of wantedRoutes) addRoute(route, service)
  }
  for (const change of changes) {
    const service = services.get(change.service_id ?? '')
    if (change.kind === 'service') {
      if (change.action === 'create') create(change.after)
      else if (service == null) continue
      else if (change.action === 'delete') draft.gone.services.push(service.id)
      else draft.services.set(service.id, patchService(service, change.after))
    } else if (service != null) {
      const route = routes.get(change.route_id ?? '')
      const now = draft.services.get(service.id) ?? service
      if (change.action === 'create') addRoute(change.after, now)
      else if (route == null) continue
      else if (change.action === 'delete') draft.gone.routes.push(route.id)
      else draft.routes.set(route.id, patchRoute(route, change.after, now))
    }
  }
  return { ...draft, services: [...draft.services.values()], routes: [...draft.routes.values()] }
}

const NO_TIME = '1970-01-01T00:00:00.000Z'
