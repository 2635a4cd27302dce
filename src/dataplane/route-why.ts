import type { RouteId, ServiceId } from '../crdt/schema.ts'
import { traceCandidatesMax } from './limits.ts'
import { attachedNetworkOf, whyNeverTaken, type HostNetworks } from './never-taken.ts'
import { contains, formatPrefix } from './prefix.ts'
import type { Rule } from './route-rules.ts'
import { kindOf, lengthOf, type Packet, type Route } from './route.ts'

/** Every route that a packet could have taken, and by which point of the order it won or lost. */
export interface Explanation {
  winner: Route | null
  /** Why the packet goes where it goes, as one sentence. */
  reason: string
  candidates: Candidate[]
}

export interface Candidate {
  serviceId: ServiceId
  routeId: RouteId
  won: boolean
  rule: Rule
  reason: string
}

const KIND_RULES = ['source_and_destination', 'source_only', 'destination_only'] as const
const KINDS = ['source and destination', 'source only', 'destination only', 'no CIDR']

/** `routes` in the order of the contract; `winner` is the first of them that matches. */
export function explain(
  routes: readonly Route[],
  host: HostNetworks,
  packet: Packet,
  winner: Route | null
): Explanation {
  const never = whyNeverTaken(host, packet.source, packet.dest)
  let runnerUp: Route | null = null
  let left: string | null = null
  const candidates: Candidate[] = []
  for (const route of routes) {
    if (route === winner) continue
    const other = whyNot(route, packet)
    const attached = other == null ? whyLeft(route, packet, host) : null
    left ??= attached
    const mismatch = other ?? attached
    if (mismatch == null && never == null) runnerUp ??= route
    candidates.push({
      serviceId: route.serviceId,
      routeId: route.id,
      won: false,
      ...lost(route, { never, mismatch, winner })
    })
  }
  if (winner == null) {
    const reason = never ?? left ?? 'no route matches, the packet is not touched'
    return { winner, reason, candidates: candidates.slice(0, traceCandidatesMax) }
  }
  const reason = describe(winner)
  const ahead = runnerUp == null ? null : decide(runnerUp, winner)
  const won: Candidate = {
    serviceId: winner.serviceId,
    routeId: winner.id,
    won: true,
    rule: ahead?.rule ?? 'only_match',
    reason: `${reason}; ${ahead == null ? 'no other route does' : `ahead of route ${runnerUp?.id}: ${ahead.ofWinner}`}`
  }
  return { winner, reason, candidates: [won, ...candidates].slice(0, traceCandidatesMax) }
}

function lost(
  route: Route,
  { never, mismatch, winner }: { never: string | null; mismatch: string | null; winner: Route | null }
): Pick<Candidate, 'rule' | 'reason'> {
  if (never != null) return { rule: 'never_taken', reason: never }
  if (mismatch != null || winner == null) return { rule: 'no_match', reason: mismatch ?? 'it does not match' }
  const { rule, ofLoser } = decide(route, winner)
  return { rule, reason: `behind route ${winner.id}: ${ofLoser}` }
}

/** Why a route cannot match a packet, or null when it does. */
function whyNot(route: Route, packet: Packet): string | null {
  if (route.device != null && route.device !== packet.interface) {
    return `it takes what enters by ${route.device} only, and the packet ${packet.interface == null ? 'does not' : `enters by ${packet.interface}`}`
  }
  const { source, dest } = route
  if (source != null && !contains(source, packet.source)) return `the source is not in ${formatPrefix(source)}`
  if (dest != null && !contains(dest, packet.dest)) return `the destination is not in ${formatPrefix(dest)}`
  return null
}

/** Why a route that covers a packet leaves it alone nevertheless, or null. */
function whyLeft({ dest }: Route, packet: Packet, host: HostNetworks): string | null {
  const attached = attachedNetworkOf(host.attached, packet.dest)
  if (attached != null && attached.length > Math.max(0, lengthOf(dest))) {
    const what = dest == null ? 'a route without destination' : `a destination as broad as ${formatPrefix(dest)}`
    return `the destination lies in the directly attached network ${formatPrefix(attached)}, which ${what} does not take`
  }
  return null
}

/** The first point of the order at which a matching route falls behind the winner, told from both sides. */
function decide(loser: Route, winner: Route): { rule: Rule; ofLoser: string; ofWinner: string } {
  const told = (rule: Rule, ofLoser: string, ofWinner: string) => ({ rule, ofLoser, ofWinner })
  if (loser.device !== winner.device) {
    return told(
      'interface',
      'that one belongs to the interface the packet enters by',
      'this one belongs to the interface the packet enters by'
    )
  }
  const [has, lacks] = [KINDS[kindOf(winner)], KINDS[kindOf(loser)]]
  if (kindOf(loser) !== kindOf(winner)) {
    const rule = KIND_RULES[kindOf(winner)] ?? 'source_and_destination'
    return told(rule, `that one has ${has}, this one ${lacks}`, `this one has ${has}, that one ${lacks}`)
  }
  for (const [side, rule, what] of [
    ['source', 'longer_source_prefix', 'source'],
    ['dest', 'longer_destination_prefix', 'destination']
  ] as const) {
    const [longer, shorter] = [lengthOf(winner[side]), lengthOf(loser[side])]
    if (longer === shorter) continue
    return told(
      rule,
      `its ${what} prefix is longer, /${longer} to /${shorter}`,
      `the ${what} prefix is longer, /${longer} to /${shorter}`
    )
  }
  if (loser.priority !== winner.priority) {
    return told(
      'higher_priority',
      `its priority is ${winner.priority}, this one's ${loser.priority}`,
      `the priority is ${winner.priority}, that one's ${loser.priority}`
    )
  }
  return told('smaller_route_id', 'all else is equal and its id is smaller', 'all else is equal and this id is smaller')
}

function describe(route: Route): string {
  const scope = route.device == null ? '' : `what enters by ${route.device}, `
  const parts = [
    route.source == null ? null : `source in ${formatPrefix(route.source)}`,
    route.dest == null ? null : `destination in ${formatPrefix(route.dest)}`
  ].filter((part) => part != null)
  return `matches ${scope}${parts.length === 0 ? 'everything' : parts.join(' and ')}`
}
