import type { PeerId, ServiceRecord, TransportType } from '../../crdt/schema.ts'
import type { ServiceReport } from '../../mesh/mesh.ts'
import { programTimeoutMs } from '../limits.ts'

type Phase = 'pending' | 'active' | 'degraded' | 'deleting'
/** `connecting`: not reached yet, but it is too early to call that a fault. */
export type Reach = 'reachable' | 'connecting' | 'unreachable'

/** One endpoint of a service as this peer sees it. */
export interface EndpointSight {
  peer: PeerId
  /** For messages: the human name, or the id. */
  name: string
  member: boolean
  /** It was a member once. */
  departed: 'revoked' | 'left' | null
  /** Its own record has arrived, so that its keys and addresses are known. */
  described: boolean
  reach: Reach
  report: ServiceReport | null
  /** The report is what the peer says now; a peer that shares no service with us is not heard unless it is asked. */
  fresh: boolean
}

export interface PhaseInput {
  service: ServiceRecord
  routes: number
  spec: string
  source: EndpointSight
  target: EndpointSight
  /** Wall-clock ms when this peer first saw this very spec. */
  waitingSince: number
  now: number
}

export interface Condition {
  type: string
  status: boolean
  reason: string
  message: string
}

export interface Verdict {
  phase: Phase
  /** The reason and message of the phase itself; `Ready` among the conditions has the same. */
  reason: string
  message: string
  conditions: Condition[]
  effectiveTransport: TransportType | null
  interface: ServiceReport['interface']
  /** When, wall-clock ms, time alone would change this verdict; null: never. */
  deadline: number | null
}

/** How bad a condition is for the phase: the worst one decides, the first of the worst names the reason. */
type Weight = 'fine' | 'note' | 'waiting' | 'failing'
type Weighed = Condition & { weight: Weight }

/**
 * The phase of a service. `active` only when both endpoints report this very spec as applied; `degraded` when something
 * is known to be wrong; `pending` while somebody is still at it, up to `programTimeoutMs`, after which the straggler is
 * named. Pure: the same sights give the same verdict on every peer.
 */
export function phaseOf(input: PhaseInput): Verdict {
  const { source, target } = input
  const found = [
    routes(input),
    programmed('SourceProgrammed', source, input),
    programmed('TargetProgrammed', target, input),
    reachable('SourceReachable', source),
    targetReachable(input),
    ...transport(input),
    ...device(input),
    ...warnings([source, target])
  ]
  const worst = (weight: Weight): Weighed | undefined => found.find((condition) => condition.weight === weight)
  const waits =
    source.fresh && target.fresh && found.some(({ weight, type }) => weight === 'waiting' && type !== 'Routes')
  const decisive = worst('failing') ?? worst('waiting')
  const phase = decisive == null ? 'active' : decisive.weight === 'failing' ? 'degraded' : 'pending'
  const reason = decisive?.reason ?? 'Programmed'
  const message = decisive?.message ?? 'kernel and engines on both peers have it in force'
  return {
    phase,
    reason,
    message,
    conditions: [
      { type: 'Ready', status: phase === 'active', reason, message },
      ...found.map(({ weight: _weight, ...condition }) => condition)
    ],
    effectiveTransport: source.report?.effective_transport ?? target.report?.effective_transport ?? null,
    interface: source.report?.interface ?? null,
    deadline: waits ? input.waitingSince + programTimeoutMs : null
  }
}

function routes({ service, routes: count }: PhaseInput): Weighed {
  if (count > 0) return fine('Routes', 'HasRoutes', count === 1 ? '1 route' : `${count} routes`)
  const message = 'it carries no traffic until it has a route; add one with "arctic routes add"'
  return bad('Routes', 'NoRoutes', message, service.requires_interface ? 'note' : 'waiting')
}

function programmed(type: string, sight: EndpointSight, input: PhaseInput): Weighed {
  const { name, member, described, report } = sight
  if (!member) return missing(type, sight)
  if (report?.spec === input.spec) {
    if (report.state === 'applied') return fine(type, 'Programmed', `${name} has it in force`)
    return bad(type, report.reason, `${name}: ${report.message}`, 'failing')
  }
  const seconds = Math.round(programTimeoutMs / 1000)
  const what = !described
    ? `${name} has not published its keys and addresses yet`
    : report == null
      ? `${name} has not reported this service yet`
      : report.state === 'failed'
        ? `${name} still reports an older state of it, which failed: ${report.message}`
        : `${name} still has an older state of it in force`
  if (sight.fresh && input.now - input.waitingSince >= programTimeoutMs) {
    return bad(type, 'NotProgrammed', `${what}, after ${seconds} s`, 'failing')
  }
  return bad(type, described ? 'Programming' : 'PeerRecordMissing', what, 'waiting')
}

function missing(type: string, { name, departed }: EndpointSight): Weighed {
  const next = 'delete the service, or make another one between members'
  if (departed === 'revoked')
    return bad(type, 'PeerRevoked', `${name} was revoked from the cluster; ${next}`, 'failing')
  if (departed === 'left') return bad(type, 'PeerLeft', `${name} has left the cluster; ${next}`, 'failing')
  return bad(type, 'PeerNotAdmitted', `${name} is not a member of the cluster; ${next}`, 'failing')
}

function reachable(type: string, { name, reach }: EndpointSight): Weighed {
  if (reach === 'reachable') return fine(type, 'Reachable', `${name} answers`)
  if (reach === 'connecting') return bad(type, 'Connecting', `${name} is being connected to`, 'waiting')
  return bad(type, type.replace('Reachable', 'Unreachable'), `${name} does not answer`, 'failing')
}

/** The source's own word counts for its target, wherever the question is asked. */
function targetReachable({ source, target }: PhaseInput): Weighed {
  const seen = reachable('TargetReachable', target)
  if (seen.weight === 'failing' || source.report?.reason !== 'TargetUnreachable') return seen
  return bad('TargetReachable', 'TargetUnreachable', `${source.name} cannot reach ${target.name}`, 'failing')
}

function transport({ service, source }: PhaseInput): Weighed[] {
  const effective = source.report?.effective_transport
  if (effective == null) return []
  if (effective === service.transport_type) return [fine('Transport', 'AsAsked', `flows run over ${effective}`)]
  const message = `asked to run over ${service.transport_type}, but flows run over ${effective}`
  return [bad('Transport', 'TransportFallback', message, 'failing')]
}

function device({ service, source: { name, report }, spec }: PhaseInput): Weighed[] {
  if (!service.requires_interface) return []
  const made = report?.interface
  if (made != null) return [fine('Interface', 'Created', `${made.name} on ${name}`)]
  if (report?.state === 'failed' && report.spec === spec)
    return [bad('Interface', report.reason, report.message, 'failing')]
  return [bad('Interface', 'Creating', `${name} has not reported the device yet`, 'waiting')]
}

/** What a warning is about. A reason that is not listed is a `Notice`. */
const WARNING_TYPES: Record<string, string> = {
  ForwardingDisabled: 'Forwarding',
  RouteOverlapsAttachedNetwork: 'RouteOverlap',
  MacvlanFramesDropped: 'InterfaceParent',
  ParentDown: 'InterfaceParent',
  AddressInUse: 'InterfaceAddress',
  RepliesElsewhere: 'TransparentReturnPath'
}

function warnings(endpoints: EndpointSight[]): Weighed[] {
  const seen = new Map<string, Weighed>()
  for (const { name, report } of endpoints) {
    for (const { reason, message } of report?.warnings ?? []) {
      const type = WARNING_TYPES[reason] ?? 'Notice'
      const earlier = seen.get(type)
      const text = `${name}: ${message}`
      seen.set(
        type,
        bad(type, earlier?.reason ?? reason, earlier == null ? text : `${earlier.message}; ${text}`, 'note')
      )
    }
  }
  return [...seen.values()]
}

const fine = (type: string, reason: string, message: string): Weighed => ({
  type,
  status: true,
  reason,
  message,
  weight: 'fine'
})

const bad = (type: string, reason: string, message: string, weight: Weight): Weighed => ({
  type,
  status: false,
  reason,
  message,
  weight
})
