import type { Operator, ServiceJson } from '../../../actors/operator/operator.ts'
import type { FastifyReply } from 'fastify'
import { serviceTag } from '../../../actors/operator/service-tag.ts'
import { IfMatchSchema, readIfMatch } from '../if-match.ts'
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
      return sendService(reply.code(201), await operator.createService({ ...body, source_peer_id }))
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
    async ({ query: { limit, after, ...filter } }, reply) =>
      sendList(reply, await operator.listServices(filter), { limit, after })
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
    async ({ params }, reply) => sendService(reply, await operator.getService(params.id))
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
        headers: IfMatchSchema,
        response: { 200: ref(ServiceSchema) }
      }
    },
    async ({ params, body, headers }, reply) =>
      sendService(reply, await operator.updateService(params.id, body, readIfMatch(headers['if-match'])))
  )

  app.delete(
    '/v1/services/:id',
    {
      schema: {
        operationId: 'deleteService',
        summary: 'Delete a service with its routes, rules, device and flows',
        tags,
        params: ServiceParamsSchema,
        headers: IfMatchSchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params, headers }, reply) => {
      await operator.deleteService(params.id, readIfMatch(headers['if-match']))
      return reply.code(204).send()
    }
  )
}

const sendService = (reply: FastifyReply, service: ServiceJson): FastifyReply =>
  reply.header('etag', serviceTag(service)).send(service)
