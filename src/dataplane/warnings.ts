import type { AppliedFailure, InboundService, OutboundService, SteeringRoute } from './desired.ts'
import { isOurs, wayTo, type HostFacts } from './interfaces.ts'
import { contains, formatPrefix, parsePrefix, type Family } from './prefix.ts'

/** Which interfaces of the host forward; read from sysctls, plain data here. */
export interface Forwarding {
  /** Devices whose `net.ipv4.conf.DEV.forwarding` is 1. */
  ipv4: ReadonlySet<string>
  /** `net.ipv6.conf.all.forwarding`, which is the one that counts for IPv6; null where the host has no IPv6. */
  ipv6: boolean | null
}

/** Remarks on a service whose source is this host. */
export function outboundWarnings(service: OutboundService, facts: HostFacts, forwarding: Forwarding): AppliedFailure[] {
  const overlaps = service.routes.flatMap((route) => overlap(route, facts))
  return [...overlaps, ...forwardingWarnings(service.routes, 'source', facts, forwarding)]
}

/** Remarks on a service whose target is this host: its answers are forwarded from where the destination is. */
export const inboundWarnings = (service: InboundService, facts: HostFacts, forwarding: Forwarding): AppliedFailure[] =>
  forwardingWarnings(service.routes, 'dest', facts, forwarding)

function overlap(route: SteeringRoute, facts: HostFacts): AppliedFailure[] {
  const dest = route.destCidr == null ? null : parsePrefix(route.destCidr)
  const attached = dest == null ? undefined : facts.attached.find((network) => contains(network, dest))
  if (dest == null || attached == null) return []
  return [
    {
      reason: 'RouteOverlapsAttachedNetwork',
      message: `route ${route.id} takes ${formatPrefix(dest)}, which lies in the directly attached network ${formatPrefix(attached)}: hosts there are reached through the mesh only; delete the route if that is not meant`
    }
  ]
}

function forwardingWarnings(
  routes: readonly SteeringRoute[],
  end: 'source' | 'dest',
  facts: HostFacts,
  forwarding: Forwarding
): AppliedFailure[] {
  const silent = new Set<string>()
  for (const route of routes) {
    const cidr = end === 'source' ? route.sourceCidr : route.destCidr
    const network = cidr == null ? null : parsePrefix(cidr)
    for (const family of familiesOf(route)) {
      if (family === 6 && forwarding.ipv6 === false) silent.add('net.ipv6.conf.all.forwarding')
      if (family === 4)
        for (const device of mute(network == null ? null : wayTo(facts, network), facts, forwarding)) silent.add(device)
    }
  }
  if (silent.size === 0) return []
  const settings = [...silent].map((name) => (name.startsWith('net.') ? name : `net.ipv4.conf.${name}.forwarding`))
  return [
    {
      reason: 'ForwardingDisabled',
      message: `this host does not forward, so only TCP and its own programs' traffic is carried; set ${settings.map((name) => `${name}=1`).join(' and ')} (sysctl -w)`
    }
  ]
}

function familiesOf({ sourceCidr, destCidr }: SteeringRoute): Family[] {
  const family = parsePrefix(sourceCidr ?? destCidr ?? '')?.family
  return family == null ? [4, 6] : [family]
}

/** The interface if it does not forward; where any interface may be the one, all of them when none does. */
function mute(device: string | null, facts: HostFacts, { ipv4 }: Forwarding): string[] {
  if (device != null)
    return ipv4.has(device) || facts.links.some((link) => link.ifname === device && isOurs(link)) ? [] : [device]
  const candidates = facts.links
    .filter((link) => !isOurs(link) && link.flags.includes('UP') && !link.flags.includes('LOOPBACK'))
    .filter(({ addr_info }) => addr_info.some(({ family }) => family === 'inet'))
    .map(({ ifname }) => ifname)
  return candidates.some((name) => ipv4.has(name)) ? [] : candidates
}
