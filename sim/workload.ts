import { ArcticError } from '../src/errors.ts'
import { siteOf, type SimHost } from './host/host.ts'
import type { SeededRandom } from './random.ts'
import { operatorOf, type World } from './world.ts'

/** Wishes that are asked of a member, who has to refuse them, or of one that was thrown out. */
const membersShare = 0.15

export interface Workload {
  /** Mean ms between two wishes of operators, all hosts together. */
  everyMs: number
  /** Services at once; beyond it operators change and remove more than they add. */
  servicesMax: number
}

/**
 * Operators at work on random admins' hosts, and now and then on a member's: they make, change and remove services and
 * routes. What they were told is kept in the world; what fails because of a fault is no violation, a promise that is broken
 * later is, and so is one that a mere member gives.
 */
export class Operators {
  readonly #world: World
  readonly #random: SeededRandom
  readonly #workload: Workload
  #stopped = false
  changes = 0
  refused = 0
  #made = 0

  constructor(world: World, workload: Workload) {
    this.#world = world
    this.#random = world.random.fork('operators')
    this.#workload = workload
  }

  stop(): void {
    this.#stopped = true
  }

  async work(): Promise<void> {
    while (!this.#stopped) {
      await this.#world.scheduler.sleep(this.#random.between(0, 2 * this.#workload.everyMs))
      const hosts = this.#world.up()
      if (this.#stopped || hosts.length < 2) continue
      const mayChange = !this.#random.chance(membersShare)
      const others = this.#world.hosts.filter(({ id, agent }) => agent != null && this.#world.outcasts.has(id))
      const may = hosts.filter(({ id }) => this.#world.admins.has(id) === mayChange)
      const host = this.#random.pick(mayChange ? may : [...may, ...others])
      if (host == null) continue
      // Nobody waits for an answer: a host that dies never gives one.
      this.#wish(host).then(
        (done) => {
          if (!done) return
          this.changes++
          if (!this.#world.wereAdmins.has(host.id))
            this.#world.violate('authority', `${host.name} is a member only and changed what is the admins'`)
        },
        (error: unknown) => {
          this.refused++
          if (!(error instanceof ArcticError) || error.code === 'internal') {
            this.#world.violate('errors', `${host.name} failed an operator with no proper error: ${String(error)}`)
          }
        }
      )
    }
  }

  /** False when there was nothing to ask for. */
  async #wish(host: SimHost): Promise<boolean> {
    const view = host.agent?.replica.view()
    if (view == null) return false
    const random = this.#random
    const services = [...view.services.keys()].sort()
    const routes = [...view.routes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
    const dice = random.float() + (services.length >= this.#workload.servicesMax ? 0.35 : 0)
    if (services.length === 0 || dice < 0.35) return this.#create(host)
    if (dice < 0.6) return this.#addRoute(host, random.pick(services))
    const route = random.pick(routes)
    if (dice < 0.75 && route != null) {
      await operatorOf(host).updateRoute(route.service_id, route.id, { priority: random.integer(0, 500) })
    } else if (dice < 0.85 && route != null) {
      await operatorOf(host).deleteRoute(route.service_id, route.id)
    } else if (dice < 1.1) {
      await operatorOf(host).updateService(random.pick(services), { bandwidth_limit_mbps: random.integer(0, 1_000) })
    } else {
      await this.#remove(host, random.pick(services))
    }
    return true
  }

  async #create(host: SimHost): Promise<boolean> {
    const [source, target] = this.#random.sample(this.#world.members(), 2)
    if (source == null || target == null) return false
    const operator = operatorOf(host)
    const name = `service-${this.#made++}`
    const before = host.wrote
    const service = await operator.createService({ name, source_peer_id: source.id, target_peer_id: target.id })
    const created = host.writtenSince(before)
    this.#world.services.set(service.id, { created, removalAsked: false, removals: [] })
    this.#world.trace.note(host.index, 'change', `${name}: ${source.name} to ${target.name}`)
    if (this.#random.chance(0.7)) await operator.addRoutes(service.id, [this.#route(target)])
    return true
  }

  async #addRoute(host: SimHost, service: string): Promise<boolean> {
    const target = host.agent?.replica.view().services.get(service)?.target_peer_id
    const at = this.#world.hosts.find(({ id }) => id === target)
    if (at == null) return false
    await operatorOf(host).addRoutes(service, [this.#route(at)])
    this.#world.trace.note(host.index, 'change', `a route to ${at.name}`)
    return true
  }

  async #remove(host: SimHost, service: string): Promise<void> {
    const promised = this.#world.services.get(service)
    if (promised != null) promised.removalAsked = true
    const before = host.wrote
    await operatorOf(host).deleteService(service)
    promised?.removals.push(host.writtenSince(before))
    this.#world.trace.note(host.index, 'change', 'a service is removed')
  }

  /** Somewhere in the target's site, or a broader or narrower network around it; sometimes with a source. */
  #route(target: SimHost): { dest_cidr?: string; source_cidr?: string; priority: number } {
    const random = this.#random
    const [, b, c] = siteOf(target).split('.')
    const dest = random.pick([
      `10.${b}.${c}.0/24`,
      `10.${b}.${c}.128/25`,
      `10.${b}.0.0/16`,
      '10.0.0.0/8',
      '0.0.0.0/0',
      `172.16.${c}.0/24`
    ])
    const source = random.chance(0.3)
      ? { source_cidr: random.pick(['10.0.0.0/8', `10.0.${random.integer(0, 7)}.0/24`]) }
      : {}
    return { dest_cidr: dest, ...source, priority: random.integer(0, 3) * 100 }
  }
}
