import type { AnyActorRef } from 'xstate'
import type { PeerId, RouteId, ServiceId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import { addressOf, parseAddress } from '../runtime/address.ts'
import { childOf } from '../runtime/supervisor.logic.ts'
import { routesFollowMs } from '../limits.ts'
import type { Population, Step } from './plan.ts'
import type { ServiceStatus } from './status-book.ts'

interface LiveService {
  spec: string
  routes: Map<RouteId, string>
}

export interface LiveActorsOptions {
  /** The running agent. */
  agent: AnyActorRef
  self: PeerId
  log: Logger
  roleIn: (service: ServiceId) => 'source' | 'target'
  /** An actor was started again after a failure and knows nothing: evaluate. */
  onReset: (address: string) => void
}

/** Carries out the plan's steps on the agent's pools, and passes facts on to single actors, each fact once. */
export class LiveActors {
  readonly #options: LiveActorsOptions
  readonly #peers = new Set<PeerId>()
  readonly #tunnels = new Set<PeerId>()
  readonly #services = new Map<ServiceId, LiveService>()
  /** Services that are gone from the view, but not from this host yet. */
  readonly #deleting = new Set<ServiceId>()
  /** The last fact that each actor was told, by address. */
  readonly #told = new Map<string, string>()
  /** Services that are on their way to something, and when their routes are told (monotonic ms); the first is due first. */
  readonly #awaiting = new Map<ServiceId, number>()

  constructor(options: LiveActorsOptions) {
    this.#options = options
    for (const pool of ['singletons', 'peers', 'services', 'tunnels']) this.#watch(this.#pool(pool))
  }

  /** The actors as the plan compares them. */
  population(): Population {
    return { peers: this.#peers, services: this.#services, tunnels: this.#tunnels }
  }

  deleting(): ReadonlySet<ServiceId> {
    return this.#deleting
  }

  run(step: Step): void {
    switch (step.type) {
      case 'peer.start':
        this.#peers.add(step.id)
        this.#start('peers', addressOf('peer', step.id), { id: step.id, self: step.id === this.#options.self })
        break
      case 'peer.stop':
        this.#peers.delete(step.id)
        this.#stop('peers', addressOf('peer', step.id))
        break
      case 'tunnel.start':
        this.#tunnels.add(step.id)
        this.#start('tunnels', addressOf('tunnel', step.id), { peer: step.id })
        break
      case 'tunnel.stop':
        this.#tunnels.delete(step.id)
        this.#stop('tunnels', addressOf('tunnel', step.id))
        break
      case 'service.start':
        this.#startService(step.id, step.spec)
        break
      case 'service.update':
        this.#updateService(step.id, step.spec)
        break
      case 'service.stop':
        this.#forgetRoutesOf(step.id)
        this.#services.delete(step.id)
        this.#awaiting.delete(step.id)
        this.#deleting.add(step.id)
        this.#told.delete(addressOf('service', step.id))
        this.#service(step.id)?.send({ type: 'service.withdrawn' })
        break
      case 'route.start':
        this.#services.get(step.service)?.routes.set(step.id, step.wish)
        this.#routes(step.service)?.send({
          type: 'child.start',
          id: addressOf('route', step.id),
          input: { id: step.id, wish: step.wish }
        })
        break
      case 'route.update':
        this.#services.get(step.service)?.routes.set(step.id, step.wish)
        this.#told.delete(addressOf('route', step.id))
        this.#route(step.service, step.id)?.send({ type: 'route.changed', wish: step.wish })
        break
      case 'route.stop':
        this.#services.get(step.service)?.routes.delete(step.id)
        this.#told.delete(addressOf('route', step.id))
        this.#routes(step.service)?.send({ type: 'child.stop', id: addressOf('route', step.id) })
        break
    }
  }

  /** Somebody else has told this actor something: whatever it is told next is news to it. */
  forget(address: string): void {
    this.#told.delete(address)
  }

  /** The service is gone from this host's kernel and engines: its actor ends. */
  removed(id: ServiceId): void {
    if (!this.#deleting.delete(id)) return
    this.#service(id)?.send({ type: 'service.removed' })
    this.#stop('services', addressOf('service', id))
  }

  tellPeer(id: PeerId, facts: Array<{ type: string; name?: string }>): void {
    this.#tell(addressOf('peer', id), () => childOf(this.#pool('peers'), addressOf('peer', id)), facts)
  }

  tellTunnel(id: PeerId, fact: { type: string }): void {
    this.#tell(addressOf('tunnel', id), () => childOf(this.#pool('tunnels'), addressOf('tunnel', id)), [fact])
  }

  /**
   * The service is told at once, and its routes of what it has come to. That it is on its way to something they are told
   * by {@link tellRoutes}, if it still is then: there may be thousands, and most changes are soon in force.
   */
  tellService(id: ServiceId, { phase, reason, message }: ServiceStatus, now: number): void {
    const fact = phase === 'active' ? 'programmed' : phase === 'degraded' ? 'impaired' : 'awaited'
    this.#tell(addressOf('service', id), () => this.#service(id), [{ type: `service.${fact}`, reason, message }])
    if (fact !== 'awaited') {
      this.#awaiting.delete(id)
      this.#tellRoutesOf(id, fact)
    } else if (!this.#awaiting.has(id)) {
      this.#awaiting.set(id, now + routesFollowMs)
    }
  }

  /** When the next routes are due, monotonic ms. */
  routesDue(): number | null {
    for (const at of this.#awaiting.values()) return at
    return null
  }

  tellRoutes(now: number): void {
    for (const [id, at] of this.#awaiting) {
      if (at > now) return
      this.#awaiting.delete(id)
      this.#tellRoutesOf(id, 'awaited')
    }
  }

  #tellRoutesOf(id: ServiceId, fact: string): void {
    for (const route of this.#services.get(id)?.routes.keys() ?? []) {
      this.#tell(addressOf('route', route), () => this.#route(id, route), [{ type: `route.${fact}` }])
    }
  }

  /** They end with their service, and may come back under the same ids. */
  #forgetRoutesOf(id: ServiceId): void {
    for (const route of this.#services.get(id)?.routes.keys() ?? []) this.#told.delete(addressOf('route', route))
  }

  #startService(id: ServiceId, spec: string): void {
    this.#deleting.delete(id)
    this.#forgetRoutesOf(id)
    this.#services.set(id, { spec, routes: new Map() })
    this.#start('services', addressOf('service', id), { id, role: this.#options.roleIn(id) })
    const ref = this.#service(id)
    if (ref != null) this.#watch(ref.getSnapshot().children.routes)
  }

  #updateService(id: ServiceId, spec: string): void {
    const ref = this.#service(id)
    // One that was given up gets another chance: its wish is a different one now.
    if (ref == null) {
      this.#startService(id, spec)
      return
    }
    const live = this.#services.get(id)
    if (live != null) live.spec = spec
    this.#told.delete(addressOf('service', id))
    ref.send({ type: 'service.specified' })
  }

  #start(pool: string, id: string, input: object): void {
    this.#told.delete(id)
    this.#pool(pool).send({ type: 'child.start', id, input: { ...input, log: this.#options.log } })
  }

  #stop(pool: string, id: string): void {
    this.#told.delete(id)
    this.#pool(pool).send({ type: 'child.stop', id })
  }

  #tell(
    address: string,
    find: () => AnyActorRef | null,
    facts: Array<{ type: string; reason?: string; message?: string; name?: string }>
  ): void {
    const digest = facts.map(({ type, reason }) => `${type} ${reason ?? ''}`).join()
    if (this.#told.get(address) === digest) return
    const ref = find()
    if (ref == null) return
    this.#told.set(address, digest)
    for (const fact of facts) ref.send(fact)
  }

  /** A restarted actor starts from nothing, so what was told to it and to its children counts no more. */
  #watch(pool: AnyActorRef | undefined): void {
    if (pool == null) return
    const { log, onReset } = this.#options
    // The listeners end with the pool.
    pool.on('child.failed', ({ id, error, restartInMs }) =>
      log.error({ actor: id, error, restart_in_ms: restartInMs }, 'an actor failed and will be started again')
    )
    pool.on('child.gaveUp', ({ id, error }) =>
      log.error({ actor: id, error }, 'an actor failed too often and stays away until it is changed')
    )
    pool.on('child.restarted', ({ id }) => {
      this.#told.delete(id)
      const { kind, name } = parseAddress(id) ?? { kind: '', name: '' }
      const service = kind === 'service' ? this.#services.get(name ?? '') : undefined
      if (service != null) {
        this.#forgetRoutesOf(name ?? '')
        service.routes.clear()
        this.#watch(childOf(pool, id)?.getSnapshot().children.routes)
      }
      onReset(id)
    })
  }

  #pool(name: string): AnyActorRef {
    return this.#options.agent.getSnapshot().children[name]
  }

  #service(id: ServiceId): AnyActorRef | null {
    return childOf(this.#pool('services'), addressOf('service', id))
  }

  #routes(service: ServiceId): AnyActorRef | null {
    return this.#service(service)?.getSnapshot().children.routes ?? null
  }

  #route(service: ServiceId, route: RouteId): AnyActorRef | null {
    const pool = this.#routes(service)
    return pool == null ? null : childOf(pool, addressOf('route', route))
  }
}
