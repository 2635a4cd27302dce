import type { Operator, ServiceJson } from '../../../actors/operator/operator.ts'
import { sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import {
  PageQuerySchema,
  RouteInputSchema,
  RouteParamsSchema,
  RouteQuerySchema,
  RouteSchema,
  RoutesInputSchema,
  RouteTestQuerySchema,
  RouteTestSchema
} from '../schemas/route.ts'
import { ServiceParamsSchema } from '../schemas/service.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { found, Wait } from '../wait.ts'

export function routeRoutes(app: App, operator: Operator): void {
  const tags = ['routes']
  const routesOf = async (service?: string, at?: string) =>
    at == null ? operator.listRoutes(service) : (await operator.at(at)).listRoutes(service)
  /** What a route's change is waited for: its service; one that was deleted meanwhile is not. */
  const serviceOf = (id: string) => async (): Promise<ServiceJson[]> => {
    const service = await found(operator.getService(id, { asKnown: true }))
    return service == null ? [] : [service]
  }

  app.post(
    '/v1/services/:id/routes',
    {
      schema: {
        operationId: 'addRoutes',
        summary: 'Add routes to a service, all or none',
        tags,
        params: ServiceParamsSchema,
        body: RoutesInputSchema,
        querystring: WaitQuerySchema,
        response: { 201: listOf(RouteSchema) }
      }
    },
    async ({ params, body, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const added = await operator.addRoutes(params.id, body.routes)
      const ids = new Set(added.map(({ id }) => id))
      const waited = await wait.for(serviceOf(params.id))
      const now = waited == null ? added : ((await found(operator.listRoutes(params.id, { asKnown: true }))) ?? added)
      return reply.code(201).send(now.filter(({ id }) => ids.has(id)))
    }
  )

  app.get(
    '/v1/services/:id/routes',
    {
      schema: {
        operationId: 'listServiceRoutes',
        summary: "One service's routes",
        tags,
        params: ServiceParamsSchema,
        querystring: PageQuerySchema,
        response: { 200: listOf(RouteSchema) }
      }
    },
    async ({ params, query: { at, ...page } }, reply) => sendList(reply, await routesOf(params.id, at), page)
  )

  app.put(
    '/v1/services/:id/routes/:route_id',
    {
      schema: {
        operationId: 'updateRoute',
        summary: 'Change the fields given, leave the rest; null removes a CIDR',
        tags,
        params: RouteParamsSchema,
        body: RouteInputSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(RouteSchema) }
      }
    },
    async ({ params, body, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const changed = await operator.updateRoute(params.id, params.route_id, body)
      return wait.in(changed, {
        of: serviceOf(params.id),
        now: async () =>
          (await found(operator.listRoutes(params.id, { asKnown: true })))?.find(({ id }) => id === changed.id)
      })
    }
  )

  app.delete(
    '/v1/services/:id/routes/:route_id',
    {
      schema: {
        operationId: 'deleteRoute',
        summary: 'Delete a route',
        tags,
        params: RouteParamsSchema,
        querystring: WaitQuerySchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      await operator.deleteRoute(params.id, params.route_id)
      await wait.for(serviceOf(params.id))
      return reply.code(204).send()
    }
  )

  app.get(
    '/v1/routes',
    {
      schema: {
        operationId: 'listRoutes',
        summary: 'Routes of all services, or of one',
        tags,
        querystring: RouteQuerySchema,
        response: { 200: listOf(RouteSchema) }
      }
    },
    async ({ query: { at, service_id, ...page } }, reply) => sendList(reply, await routesOf(service_id, at), page)
  )

  app.get(
    '/v1/routes/test',
    {
      schema: {
        operationId: 'testRoute',
        summary: 'Which service, route, handler and peer would carry a packet that enters this host',
        tags,
        querystring: RouteTestQuerySchema,
        response: { 200: ref(RouteTestSchema) }
      }
    },
    async ({ query: { trace, at, ...packet } }) => {
      const input = trace == null ? packet : { ...packet, trace: trace === 'true' }
      return at == null ? operator.testRoute(input) : (await operator.at(at)).testRoute(input)
    }
  )
}
