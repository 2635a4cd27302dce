import type { RouteOptions } from 'fastify'
import { RESOURCES, type Scope } from '../../crdt/scopes.ts'
import type { App } from './type-provider.ts'

/** What a caller on TCP must show to be answered at a route. The unix socket is asked for nothing. */
export interface Demand {
  /** All of them; none means that any good token does. */
  scopes: readonly Scope[]
  /** Who may come without a token: everybody, or who is on this host. */
  open?: 'always' | 'loopback'
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Left out: `TAG.read` for GET and `TAG.write` for the rest, after the route's first tag. */
    demand?: Demand
  }
}

/**
 * Gives each route that says nothing its demand, and the API's description all of them. A tag that is no resource makes
 * a route the admin's: what is forgotten must not be open. To be called before any route is declared.
 */
export function demandScopes(app: App): void {
  app.addHook('onRoute', (route) => {
    const demand = route.config?.demand ?? usualDemand(route)
    route.config = { ...route.config, demand }
    route.schema ??= {}
    route.schema.security = demand.open === 'always' ? [] : [{ token: [...demand.scopes] }]
  })
}

function usualDemand({ method, schema }: RouteOptions): Demand {
  const resource = RESOURCES.find((one) => one === schema?.tags?.[0])
  if (resource == null) return { scopes: ['admin'] }
  const reads = [method].flat().every((one) => one === 'GET' || one === 'HEAD')
  return { scopes: [`${resource}.${reads ? 'read' : 'write'}`] }
}
