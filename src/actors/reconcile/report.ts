import type { AppliedFailure, AppliedState, ServiceCounters } from '../../dataplane/desired.ts'
import type { ServiceReport } from '../../mesh/mesh.ts'

export interface ReportInput {
  serviceId: string
  role: 'source' | 'target'
  /** What the last applied desired state asked for, for an answer that names no service; null when it was not in it. */
  appliedSpec: string | null
  applied: AppliedState | null
  /** Engines that should run and do not. */
  enginesDown: readonly string[]
  /** Only the source knows whether its target can be reached: it says so for everybody else. */
  targetUnreachable: boolean
  counters: ServiceCounters | undefined
  previous: ServiceReport | undefined
  now: number
}

/** What this endpoint says of a service; null as long as its data plane has said nothing about it. */
export function reportFor(input: ReportInput): ServiceReport | null {
  const { applied, appliedSpec, previous, counters } = input
  const service = applied?.services.get(input.serviceId)
  if (applied == null || (service == null && applied.failure == null)) return null
  const failure = failureOf(input)
  const spec = service?.spec ?? appliedSpec
  if (spec == null) return null
  const same =
    previous != null &&
    previous.spec === spec &&
    previous.state === (failure == null ? 'applied' : 'failed') &&
    previous.reason === (failure?.reason ?? '')
  return {
    service_id: input.serviceId,
    role: input.role,
    spec,
    state: failure == null ? 'applied' : 'failed',
    reason: failure?.reason ?? '',
    message: failure?.message ?? '',
    since: same ? previous.since : input.now,
    effective_transport: service?.effectiveTransport ?? null,
    interface: service?.interface ?? null,
    warnings: [...(service?.warnings ?? [])],
    flows: counters?.flows ?? 0,
    bytes_in: counters?.bytesIn ?? 0,
    bytes_out: counters?.bytesOut ?? 0
  }
}

/** The first thing that keeps this endpoint from carrying the service, in the order an operator would mend them. */
function failureOf({ applied, serviceId, enginesDown, role, targetUnreachable }: ReportInput): AppliedFailure | null {
  if (applied?.failure != null) return applied.failure
  const own = applied?.services.get(serviceId)?.failure
  if (own != null) return own
  if (enginesDown.length > 0) {
    return { reason: 'EngineDown', message: `${enginesDown.join(' and ')} is not running; it is being started again` }
  }
  if (role === 'source' && targetUnreachable) {
    return { reason: 'TargetUnreachable', message: 'the source peer cannot reach the target peer' }
  }
  return null
}

/** What is worth an announcement at once; counters alone may wait. */
export const reportFacts = ({ flows: _f, bytes_in: _i, bytes_out: _o, ...facts }: ServiceReport): string =>
  JSON.stringify(facts)
