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

/** Whether two reports say the same but for the counters: what differs is worth an announcement at once. */
export const sameFacts = (a: ServiceReport | undefined, b: ServiceReport): boolean =>
  a != null &&
  a.spec === b.spec &&
  a.state === b.state &&
  a.role === b.role &&
  a.reason === b.reason &&
  a.message === b.message &&
  a.since === b.since &&
  a.effective_transport === b.effective_transport &&
  sameInterface(a.interface, b.interface) &&
  sameWarnings(a.warnings ?? [], b.warnings ?? [])

const sameInterface = (a: ServiceReport['interface'], b: ServiceReport['interface']): boolean =>
  a === b || (a != null && b != null && a.name === b.name && a.mac === b.mac && a.ipv4 === b.ipv4 && a.ipv6 === b.ipv6)

const sameWarnings = (a: AppliedFailure[], b: AppliedFailure[]): boolean =>
  a.length === b.length && a.every(({ reason, message }, i) => reason === b[i]!.reason && message === b[i]!.message)
