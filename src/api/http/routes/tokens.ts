import type { Operator } from '../../../actors/operator/operator.ts'
import type { Access } from '../access.ts'
import { sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import { NewTokenSchema, TokenInputSchema, TokenParamsSchema, TokenQuerySchema, TokenSchema } from '../schemas/token.ts'
import type { App } from '../type-provider.ts'

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
        response: { 201: ref(NewTokenSchema) }
      }
    },
    async (request, reply) => reply.code(201).send(await operator.createToken(request.body, access.callerOf(request)))
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
        response: { 204: NothingSchema }
      }
    },
    async ({ params }, reply) => {
      await operator.revokeToken(params.id)
      return reply.code(204).send()
    }
  )
}
