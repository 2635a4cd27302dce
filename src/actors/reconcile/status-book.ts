import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { ServiceReport } from '../../mesh/mesh.ts'
import { phaseOf, type Condition, type EndpointSight, type Reach, type Verdict } from './phase.ts'
import { specIn } from './spec.ts'

/** A verdict with memory: since when each condition holds. */
export interface ServiceStatus extends Verdict {
  spec: string
  /** Wall-clock ms per condition type. */
  since: ReadonlyMap<string, number>
}

export interface StatusSights {
  reach(peer: PeerId): Reach
  report(peer: PeerId, service: ServiceId): ServiceReport | null
  /** Whether that report is what the peer says now. */
  fresh(peer: PeerId): boolean
  now(): number
}

/** The status of every service in the view, as far as it was computed, and what has to be computed again. */
export class StatusBook {
  readonly #sights: StatusSights
  readonly #statuses = new Map<ServiceId, ServiceStatus>()
  /** When this peer first saw each service's present spec. */
  readonly #specs = new Map<ServiceId, { spec: string; since: number }>()
  readonly #deadlines = new Map<ServiceId, number>()

  constructor(sights: StatusSights) {
    this.#sights = sights
  }

  get(id: ServiceId): ServiceStatus | null {
    return this.#statuses.get(id) ?? null
  }

  all(): ReadonlyMap<ServiceId, ServiceStatus> {
    return this.#statuses
  }

  /** Computes one service's status anew; null when the view does not hold it. */
  compute(view: View, id: ServiceId): ServiceStatus | null {
    const service = view.services.get(id)
    if (service == null) {
      this.#statuses.delete(id)
      this.#specs.delete(id)
      this.#deadlines.delete(id)
      return null
    }
    const now = this.#sights.now()
    const spec = specIn(view, service)
    const known = this.#specs.get(id)
    const since = known?.spec === spec ? known.since : now
    if (known?.spec !== spec) this.#specs.set(id, { spec, since })
    const verdict = phaseOf({
      service,
      spec,
      routes: view.routesOf.get(id)?.length ?? 0,
      source: this.#sight(view, service.source_peer_id, id),
      target: this.#sight(view, service.target_peer_id, id),
      waitingSince: since,
      now
    })
    const status = { ...verdict, spec, since: sinceOf(verdict.conditions, this.#statuses.get(id), now) }
    this.#statuses.set(id, status)
    if (verdict.deadline == null || verdict.deadline <= now) this.#deadlines.delete(id)
    else this.#deadlines.set(id, verdict.deadline)
    return status
  }

  /** The status of a service that this agent fails on. */
  leftOut(id: ServiceId, error: string): ServiceStatus {
    const [reason, message] = ['LeftOut', `this agent fails on it and leaves it out: ${error}`]
    const conditions = [{ type: 'Ready', status: false, reason, message }]
    const since = sinceOf(conditions, this.#statuses.get(id), this.#sights.now())
    const nothing = { effectiveTransport: null, interface: null, deadline: null }
    const status: ServiceStatus = { phase: 'degraded', reason, message, conditions, spec: '', since, ...nothing }
    this.#statuses.set(id, status)
    this.#deadlines.delete(id)
    return status
  }

  #sight(view: View, peer: PeerId, service: ServiceId): EndpointSight {
    const member = view.members.get(peer)
    const departed = member == null ? view.departed?.get(peer) : undefined
    return {
      peer,
      name: member?.name ?? departed?.name ?? peer,
      member: member != null,
      departed: departed == null ? null : departed.how === 'left' ? 'left' : 'revoked',
      described: member?.record != null,
      reach: this.#sights.reach(peer),
      report: this.#sights.report(peer, service),
      fresh: this.#sights.fresh(peer)
    }
  }

  /** Services whose verdict time alone has overtaken by now. */
  due(now: number): ServiceId[] {
    return [...this.#deadlines].filter(([, at]) => at <= now).map(([id]) => id)
  }

  /** The next moment, wall-clock ms, at which some service is due; null when none waits. */
  nextDeadline(): number | null {
    let next: number | null = null
    for (const at of this.#deadlines.values()) if (next == null || at < next) next = at
    return next
  }
}

/** Two conditions of one type and meaning are one that goes on; its message may get more precise meanwhile. */
function sinceOf(conditions: Condition[], before: ServiceStatus | undefined, now: number): Map<string, number> {
  const since = new Map<string, number>()
  for (const { type, status, reason } of conditions) {
    const old = before?.conditions.find((condition) => condition.type === type)
    const goesOn = old != null && old.status === status && old.reason === reason
    since.set(type, (goesOn ? before?.since.get(type) : undefined) ?? now)
  }
  return since
}
