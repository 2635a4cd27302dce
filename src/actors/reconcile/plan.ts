import type { PeerId, RouteId, ServiceId } from '../../crdt/schema.ts'

/** Which actors there are, or should be. A service's routes live and end with it. */
export interface Population {
  peers: ReadonlySet<PeerId>
  services: ReadonlyMap<ServiceId, ServicePopulation>
  /** Remote peers with which this host shares a service. */
  tunnels: ReadonlySet<PeerId>
}

export interface ServicePopulation {
  spec: string
  /** What each route asks for, as text to compare. */
  routes: ReadonlyMap<RouteId, string>
}

export type Step =
  | { type: 'peer.start' | 'peer.stop'; id: PeerId }
  | { type: 'tunnel.start' | 'tunnel.stop'; id: PeerId }
  | { type: 'service.start' | 'service.update'; id: ServiceId; spec: string }
  | { type: 'service.stop'; id: ServiceId }
  | { type: 'route.start' | 'route.update'; service: ServiceId; id: RouteId; wish: string }
  | { type: 'route.stop'; service: ServiceId; id: RouteId }

/**
 * The steps from the actors that live to the actors that should. Order matters: a tunnel and its peer start before the
 * service that needs them and stop after it; a service starts before its routes.
 */
export function plan(actual: Population, wanted: Population): Step[] {
  const steps: Step[] = []
  for (const id of wanted.peers) if (!actual.peers.has(id)) steps.push({ type: 'peer.start', id })
  for (const id of wanted.tunnels) if (!actual.tunnels.has(id)) steps.push({ type: 'tunnel.start', id })
  for (const id of actual.services.keys()) if (!wanted.services.has(id)) steps.push({ type: 'service.stop', id })
  for (const [id, { spec, routes }] of wanted.services) {
    const live = actual.services.get(id)
    if (live == null) steps.push({ type: 'service.start', id, spec })
    else if (live.spec !== spec) steps.push({ type: 'service.update', id, spec })
    routeSteps(steps, id, live?.routes ?? NO_ROUTES, routes)
  }
  for (const id of actual.tunnels) if (!wanted.tunnels.has(id)) steps.push({ type: 'tunnel.stop', id })
  for (const id of actual.peers) if (!wanted.peers.has(id)) steps.push({ type: 'peer.stop', id })
  return steps
}

const NO_ROUTES: ReadonlyMap<RouteId, string> = new Map()

function routeSteps(
  steps: Step[],
  service: ServiceId,
  actual: ReadonlyMap<RouteId, string>,
  wanted: ReadonlyMap<RouteId, string>
): void {
  for (const id of actual.keys()) if (!wanted.has(id)) steps.push({ type: 'route.stop', service, id })
  for (const [id, wish] of wanted) {
    const live = actual.get(id)
    if (live == null) steps.push({ type: 'route.start', service, id, wish })
    else if (live !== wish) steps.push({ type: 'route.update', service, id, wish })
  }
}
