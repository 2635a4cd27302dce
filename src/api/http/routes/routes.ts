import type { Operator } from '../../../actors/operator/operator.ts'
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
import type { App } from '../type-provider.ts'

export function routeRoutes(app: App, operator: Operator): void {
  const tags = ['routes']

  app.post(
    '/v1/services/:id/routes',
    {
      schema: {
        operationId: 'addRoutes',
        summary: 'Add routes to a service, all or none',
        tags,
        params: ServiceParamsSchema,
        body: RoutesInputSchema,
        response: { 201: listOf(RouteSchema) }
      }
    },
    async ({ params, body }, reply) => reply.code(201).send(await operator.addRoutes(params.id, body.routes))
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
    async ({ params, query }, reply) => sendList(reply, await operator.listRoutes(params.id), query)
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
        response: { 200: ref(RouteSchema) }
      }
    },
    async ({ params, body }) => operator.updateRoute(params.id, params.route_id, body)
  )

  app.delete(
    '/v1/services/:id/routes/:route_id',
    {
      schema: {
        operationId: 'deleteRoute',
        summary: 'Delete a route',
        tags,
        params: RouteParamsSchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params }, reply) => {
      await operator.deleteRoute(params.id, params.route_id)
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
    async ({ query }, reply) => sendList(reply, await operator.listRoutes(query.service_id), query)
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
    async ({ query: { trace, ...packet } }) =>
      operator.testRoute(trace == null ? packet : { ...packet, trace: trace === 'true' })
  )
}
