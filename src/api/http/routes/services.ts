import type { Operator, ServiceJson } from '../../../actors/operator/operator.ts'
import type { FastifyReply } from 'fastify'
import { serviceTag } from '../../../actors/operator/service-tag.ts'
import { IfMatchSchema, readIfMatch } from '../if-match.ts'
import { flowsDefault, flowsMax } from '../limits.ts'
import { readLimit, sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import { FlowSchema, FlowsQuerySchema } from '../schemas/flow.ts'
import {
  AtQuerySchema,
  ServiceInputSchema,
  ServiceParamsSchema,
  ServicePatchSchema,
  ServiceQuerySchema,
  ServiceSchema
} from '../schemas/service.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { found, Wait } from '../wait.ts'

export function serviceRoutes(app: App, operator: Operator): void {
  const tags = ['services']
  const waited = (wait: Wait, service: ServiceJson): Promise<ServiceJson> =>
    wait.in(service, { of: () => [service], now: () => found(operator.getService(service.id, { asKnown: true })) })

  app.post(
    '/v1/services',
    {
      schema: {
        operationId: 'createService',
        summary: 'Create a service; it carries nothing until it has a route',
        tags,
        body: ServiceInputSchema,
        querystring: WaitQuerySchema,
        response: { 201: ref(ServiceSchema) }
      }
    },
    async ({ body, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const made = await operator.createService(body)
      return sendService(reply.code(201), await waited(wait, made))
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
    async ({ query: { limit, after, at, ...filter } }, reply) => {
      const services = at == null ? await operator.listServices(filter) : (await operator.at(at)).listServices(filter)
      return sendList(reply, services, { limit, after })
    }
  )

  app.get(
    '/v1/services/:id',
    {
      schema: {
        operationId: 'getService',
        summary: 'One service',
        tags,
        params: ServiceParamsSchema,
        querystring: AtQuerySchema,
        response: { 200: ref(ServiceSchema) }
      }
    },
    async ({ params, query: { at } }, reply) => {
      if (at == null) return sendService(reply, await operator.getService(params.id))
      // No entity tag: nothing of the past can be changed.
      return reply.send((await operator.at(at)).getService(params.id))
    }
  )

  app.get(
    '/v1/services/:id/flows',
    {
      schema: {
        operationId: 'listFlows',
        summary: 'Open TCP flows of a service, live, as this peer sees them; it has to be an end of the service',
        tags,
        params: ServiceParamsSchema,
        querystring: FlowsQuerySchema,
        response: { 200: listOf(FlowSchema) }
      }
    },
    async ({ params, query: { sort = 'bytes', limit } }) =>
      operator.listFlows(params.id, { sort, limit: limit == null ? flowsDefault : readLimit(limit, flowsMax) })
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
        querystring: WaitQuerySchema,
        response: { 200: ref(ServiceSchema) }
      }
    },
    async ({ params, body, headers, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const changed = await operator.updateService(params.id, body, readIfMatch(headers['if-match']))
      return sendService(reply, await waited(wait, changed))
    }
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
        querystring: WaitQuerySchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params, headers, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      // Nobody can say any more whose it was once it is deleted.
      const service = wait.asked ? [await operator.getService(params.id, { asKnown: true })] : []
      await operator.deleteService(params.id, readIfMatch(headers['if-match']))
      await wait.for(() => service)
      return reply.code(204).send()
    }
  )
}

const sendService = (reply: FastifyReply, service: ServiceJson): FastifyReply =>
  reply.header('etag', serviceTag(service)).send(service)
