import type {
  RouteId,
  RouteInput,
  RoutePatch,
  ServiceId,
  ServiceInput,
  ServicePatch,
  ServiceRecord
} from '../../crdt/schema.ts'
import { InvalidRequestError, ServiceLimitExceededError } from '../../errors.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { KeyedSerial } from './keyed-serial.ts'
import { checkServiceTag } from './service-tag.ts'
import { routeJson, serviceJson } from './json.ts'
import { licensedServices } from './license.ts'
import type { AnswerOptions, RouteJson, ServiceJson } from './operator.ts'
import { refreshReports } from './refresh.ts'
import { resolvePeer, resolveSource, resolveTarget } from './peer-ref.ts'
import { findRoute, findService } from './service-ref.ts'
import { refuseRevoked } from './standing.ts'
import { byId } from '../../order.ts'

/** What an operator can do with services and their routes. */
export class ServiceNouns {
  readonly #deps: OperatorDeps
  /** Of one service, so that between a condition's check and its write nobody else here writes. */
  readonly #writes = new KeyedSerial()

  constructor(deps: OperatorDeps) {
    this.#deps = deps
  }

  async create(input: Omit<ServiceInput, 'source_peer_id'> & { source_peer_id?: string }): Promise<ServiceJson> {
    const { mesh } = this.#deps
    const view = clusterView(this.#deps)
    refuseRevoked(this.#deps)
    if (typeof input.target_peer_id !== 'string' || input.target_peer_id === '') {
      throw new InvalidRequestError('target_peer_id is missing; name the peer that the service leads to')
    }
    const target = resolveTarget(input.target_peer_id, view, mesh)
    const source =
      input.source_peer_id == null || input.source_peer_id === ''
        ? mesh.self
        : resolveSource(input.source_peer_id, view, mesh)
    if (source === target) {
      const which = source === mesh.self && input.source_peer_id == null ? 'this peer, the default source' : 'one peer'
      throw new InvalidRequestError(
        `source and target are the same peer (${which}); a service leads from one peer to another`,
        { source_peer_id: source, target_peer_id: target }
      )
    }
    return this.#answer(await this.#createLicensed({ ...input, source_peer_id: source, target_peer_id: target }))
  }

  /** With a licence that has a limit one after the other, so that two at once do not pass it together. */
  async #createLicensed(input: ServiceInput): Promise<ServiceRecord> {
    const { replica, license } = this.#deps
    if (licensedServices(license()) == null) return replica.createService(input)
    return this.#writes.run('create', async () => {
      const limit = licensedServices(license())
      if (limit != null && replica.view().services.size >= limit.max) {
        throw new ServiceLimitExceededError(limit.max, limit.who)
      }
      return replica.createService(input)
    })
  }

  async list(filter: { target_peer_id?: string; source_peer_id?: string }): Promise<ServiceJson[]> {
    const { mesh, replica } = this.#deps
    const before = clusterView(this.#deps)
    const source = filter.source_peer_id == null ? null : resolvePeer(filter.source_peer_id, before, mesh)
    const target = filter.target_peer_id == null ? null : resolvePeer(filter.target_peer_id, before, mesh)
    const chosen = (service: ServiceRecord): boolean =>
      (source == null || service.source_peer_id === source) && (target == null || service.target_peer_id === target)
    await refreshReports(this.#deps, [...before.services.values()].filter(chosen))
    return [...replica.view().services.values()]
      .filter(chosen)
      .sort(byId)
      .map((service) => this.#json(service))
  }

  async get(id: string, { asKnown = false }: AnswerOptions = {}): Promise<ServiceJson> {
    const service = findService(id, clusterView(this.#deps))
    if (!asKnown) await refreshReports(this.#deps, [service])
    return this.#json(findService(id, clusterView(this.#deps)))
  }

  async update(id: ServiceId, patch: ServicePatch, condition: Condition = {}): Promise<ServiceJson> {
    const record = await this.#write(id, condition, (service) => this.#deps.replica.updateService(service, patch))
    return this.#answer(record)
  }

  async delete(id: ServiceId, condition: Condition = {}): Promise<void> {
    await this.#write(id, condition, (service) => this.#deps.replica.deleteService(service))
  }

  async addRoutes(id: ServiceId, inputs: RouteInput[]): Promise<RouteJson[]> {
    const service = findService(id, clusterView(this.#deps))
    if (inputs.length === 0) throw new InvalidRequestError('routes is empty; give at least one route')
    const records = await this.#deps.replica.addRoutes(service.id, inputs)
    this.#deps.reconciler.flush()
    return records.map((record) => routeJson(record, this.#deps.reconciler.statuses.get(service.id)))
  }

  async listRoutes(id?: ServiceId, { asKnown = false }: AnswerOptions = {}): Promise<RouteJson[]> {
    const before = clusterView(this.#deps)
    const service = id == null ? null : findService(id, before)
    if (!asKnown) await refreshReports(this.#deps, service == null ? [...before.services.values()] : [service])
    const { reconciler, replica } = this.#deps
    const view = replica.view()
    const records = service == null ? [...view.routes.values()] : (view.routesOf.get(service.id) ?? [])
    return [...records].sort(byId).map((record) => routeJson(record, reconciler.statuses.get(record.service_id)))
  }

  async updateRoute(serviceId: ServiceId, routeId: RouteId, patch: RoutePatch): Promise<RouteJson> {
    const view = clusterView(this.#deps)
    const service = findService(serviceId, view)
    const route = findRoute(routeId, service, view)
    const record = await this.#deps.replica.updateRoute(service.id, route.id, patch)
    this.#deps.reconciler.flush()
    return routeJson(record, this.#deps.reconciler.statuses.get(service.id))
  }

  async deleteRoute(serviceId: ServiceId, routeId: RouteId): Promise<void> {
    const view = clusterView(this.#deps)
    const service = findService(serviceId, view)
    await this.#deps.replica.deleteRoute(service.id, findRoute(routeId, service, view).id)
  }

  #write<T>(text: string, { ifMatch }: Condition, write: (id: ServiceId) => Promise<T>): Promise<T> {
    const { id } = findService(text, clusterView(this.#deps))
    return this.#writes.run(id, async () => {
      checkServiceTag(findService(id, clusterView(this.#deps)), ifMatch)
      return write(id)
    })
  }

  /** The answer to a write: what was written, with the status as it is right after. */
  #answer(record: ServiceRecord): ServiceJson {
    this.#deps.reconciler.flush()
    return this.#json(record)
  }

  #json(service: ServiceRecord): ServiceJson {
    const { reconciler } = this.#deps
    return serviceJson(service, reconciler.statuses.get(service.id), {
      source: reconciler.reportOf(service.source_peer_id, service.id),
      target: reconciler.reportOf(service.target_peer_id, service.id)
    })
  }
}

interface Condition {
  ifMatch?: readonly string[]
}
