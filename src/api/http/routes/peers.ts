import type { Operator } from '../../../actors/operator/operator.ts'
import { sendList } from '../list.ts'
import { listOf, ref } from '../schemas/common.ts'
import { PeerParamsSchema, PeerQuerySchema, PeerSchema } from '../schemas/peer.ts'
import type { App } from '../type-provider.ts'

export function peerRoutes(app: App, operator: Operator): void {
  const tags = ['peers']

  app.get(
    '/v1/peers',
    {
      schema: {
        operationId: 'listPeers',
        summary: 'Admitted peers, or all',
        tags,
        querystring: PeerQuerySchema,
        response: { 200: listOf(PeerSchema) }
      }
    },
    async ({ query }, reply) => sendList(reply, await operator.listPeers({ all: query.all === 'true' }), query)
  )

  app.get(
    '/v1/peers/:id',
    {
      schema: {
        operationId: 'getPeer',
        summary: 'One peer',
        tags,
        params: PeerParamsSchema,
        response: { 200: ref(PeerSchema) }
      }
    },
    async ({ params }) => operator.getPeer(params.id)
  )
}
