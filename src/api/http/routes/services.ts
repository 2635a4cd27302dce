import type { Operator } from '../../../actors/operator/operator.ts'
import { sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import {
  ServiceInputSchema,
  ServiceParamsSchema,
  ServicePatchSchema,
  ServiceQuerySchema,
  ServiceSchema
} from '../schemas/service.ts'
import type { App } from '../type-provider.ts'

export function serviceRoutes(app: App, operator: Operator): void {
  const tags = ['services']

  app.post(
    '/v1/services',
    {
      schema: {
        operationId: 'createService',
        summary: 'Create a service; it carries nothing until it has a route',
        tags,
        body: ServiceInputSchema,
        response: { 201: ref(ServiceSchema) }
      }
    },
    async ({ body }, reply) => {
      const source_peer_id = body.source_peer_id ?? (await operator.status()).peer.id
      return reply.code(201).send(await operator.createService({ ...body, source_peer_id }))
    }
  )

  app.get(
    '/v1/services',
    {
      schema: {
        operationId: 'listServices',
        summary: 'List services',
        tags,
        querystring: ServiceQuerySchema,
        response: { 200: listOf(ServiceSchema) }
      }
    },
    async ({ query }, reply) => sendList(reply, await operator.listServices(query))
  )

  app.get(
    '/v1/services/:id',
    {
      schema: {
        operationId: 'getService',
        summary: 'One service',
        tags,
        params: ServiceParamsSchema,
        response: { 200: ref(ServiceSchema) }
      }
    },
    async ({ params }) => operator.getService(params.id)
  )

  app.put(
    '/v1/services/:id',
    {
      schema: {
        operationId: 'updateService',
        summary: 'Change the fields given, leave the rest',
        tags,
        params: ServiceParamsSchema,
        body: ServicePatchSchema,
        response: { 200: ref(ServiceSchema) }
      }
    },
    async ({ params, body }) => operator.updateService(params.id, body)
  )

  app.delete(
    '/v1/services/:id',
    {
      schema: {
        operationId: 'deleteService',
        summary: 'Delete a service with its routes, rules, device and flows',
        tags,
        params: ServiceParamsSchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params }, reply) => {
      await operator.deleteService(params.id)
      return reply.code(204).send()
    }
  )
}
