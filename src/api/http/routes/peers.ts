import type { Operator } from '../../../actors/operator/operator.ts'
import { asker } from '../asker.ts'
import type { Access } from '../access.ts'
import { hangUpSignal } from '../hang-up.ts'
import { sendList } from '../list.ts'
import { listOf, NothingSchema, ref } from '../schemas/common.ts'
import { PeerParamsSchema, PeerPatchSchema, PeerQuerySchema, PeerSchema } from '../schemas/peer.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { Wait } from '../wait.ts'

export function peerRoutes(app: App, operator: Operator, access: Access): void {
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
    async ({ query: { at, all, ...page } }, reply) => {
      const which = { all: all === 'true' }
      return sendList(
        reply,
        at == null ? await operator.listPeers(which) : (await operator.at(at)).listPeers(which),
        page
      )
    }
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

  app.put(
    '/v1/peers/:id',
    {
      schema: {
        operationId: 'updatePeer',
        summary: 'Give a member another name or role',
        tags,
        params: PeerParamsSchema,
        body: PeerPatchSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(PeerSchema) }
      }
    },
    async (request, reply) => {
      const wait = new Wait(operator, reply, request.query.wait)
      // An admin can do everything: nobody makes one who is none.
      if (request.body.role != null) access.demand(request, 'admin')
      const peer = await operator.updatePeer(request.params.id, request.body)
      const waited = await wait.forMembers(peer.id)
      return waited == null ? peer : { ...(await operator.getPeer(peer.id)), wait: waited }
    }
  )

  app.post(
    '/v1/peers/:id/rotate-keys',
    {
      schema: {
        operationId: 'rotatePeerKeys',
        summary: "Change the keys of a member's data planes, without a flow noticing",
        description:
          'The keys before stay good for the overlap that its agent is configured with (`key_overlap`). Of another peer than the one that ' +
          'is asked only an admin may have them changed, and that peer has to be reachable. 409 while the last change is not over.',
        tags,
        params: PeerParamsSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(PeerSchema) }
      }
    },
    async (request, reply) => {
      const wait = new Wait(operator, reply, request.query.wait)
      const options = { by: asker(request), signal: hangUpSignal(reply) }
      const peer = await operator.rotateKeys(request.params.id, options)
      const waited = await wait.forKeys(peer.id)
      return waited == null ? peer : { ...(await operator.getPeer(peer.id)), wait: waited }
    }
  )

  app.delete(
    '/v1/peers/:id',
    {
      schema: {
        operationId: 'revokePeer',
        summary: 'Throw a member out, for good',
        tags,
        params: PeerParamsSchema,
        querystring: WaitQuerySchema,
        response: { 204: NothingSchema }
      }
    },
    async ({ params, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const { id } = await operator.getPeer(params.id)
      await operator.revokePeer(id)
      await wait.forMembers(id)
      return reply.code(204).send()
    }
  )
}
