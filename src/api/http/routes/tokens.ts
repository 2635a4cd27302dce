import type { Operator } from '../../../actors/operator/operator.ts'
import type { Access } from '../access.ts'
import { sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import { NewTokenSchema, TokenInputSchema, TokenParamsSchema, TokenQuerySchema, TokenSchema } from '../schemas/token.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { Wait } from '../wait.ts'

export function tokenRoutes(app: App, operator: Operator, access: Access): void {
  const tags = ['tokens']

  app.post(
    '/v1/tokens',
    {
      schema: {
        operationId: 'createToken',
        summary: 'Make a token; its secret is in this answer and never again',
        tags,
        body: TokenInputSchema,
        querystring: WaitQuerySchema,
        response: { 201: ref(NewTokenSchema) }
      }
    },
    async (request, reply) => {
      const waiting = new Wait(operator, reply, request.query.wait)
      const made = await operator.createToken(request.body, access.callerOf(request))
      const wait = await waiting.forMembers(null)
      return reply.code(201).send(wait == null ? made : { ...made, wait })
    }
  )

  app.get(
    '/v1/tokens',
    {
      schema: {
        operationId: 'listTokens',
        summary: 'List tokens, without their secrets',
        tags,
        querystring: TokenQuerySchema,
        response: { 200: listOf(TokenSchema) }
      }
    },
    async ({ query }, reply) => sendList(reply, await operator.listTokens(), query)
  )

  app.delete(
    '/v1/tokens/:id',
    {
      schema: {
        operationId: 'revokeToken',
        summary: 'Revoke a token; it stops working at each peer that hears of it',
        tags,
        params: TokenParamsSchema,
        querystring: WaitQuerySchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      await operator.revokeToken(params.id)
      await wait.forMembers(null)
      return reply.code(204).send()
    }
  )
}
