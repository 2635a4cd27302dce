import type { Operator } from '../../../actors/operator/operator.ts'
import { historyLimitMax } from '../../../actors/limits.ts'
import type { Access } from '../access.ts'
import { readLimit, sendList } from '../list.ts'
import { EmptySchema, listOf, ref } from '../schemas/common.ts'
import {
  ChangeSchema,
  EpochSchema,
  HistoryQuerySchema,
  UndoInputSchema,
  UndoneSchema,
  VerificationSchema
} from '../schemas/history.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { Wait } from '../wait.ts'

export function historyRoutes(app: App, operator: Operator, access: Access): void {
  app.get(
    '/v1/cluster/history',
    {
      schema: {
        operationId: 'clusterHistory',
        summary: 'Who changed what and when, newest first; signatures are verified again',
        tags: ['cluster'],
        querystring: HistoryQuerySchema,
        response: { 200: listOf(ChangeSchema) }
      }
    },
    async ({ query: { limit, ...filter } }, reply) => {
      const query = limit == null ? filter : { ...filter, limit: readLimit(limit, historyLimitMax) }
      return sendList(reply, await operator.clusterHistory(query))
    }
  )

  app.get(
    '/v1/cluster/history/verify',
    {
      schema: {
        operationId: 'verifyHistory',
        summary: 'Verify signatures, hash chains and validity of all that this peer holds, from the genesis',
        tags: ['cluster'],
        response: { 200: ref(VerificationSchema) }
      }
    },
    async () => operator.verifyHistory()
  )

  app.post(
    '/v1/cluster/epoch',
    {
      schema: {
        operationId: 'signEpoch',
        summary:
          'Sign what the history has come to, so that a peer which joins can serve before it has verified all of it',
        tags: ['cluster'],
        body: EmptySchema,
        response: { 201: ref(EpochSchema) }
      }
    },
    async (_request, reply) => reply.code(201).send(await operator.clusterEpoch())
  )

  app.post(
    '/v1/cluster/undo',
    {
      // Whoever may change these by hand may take a change of theirs back; what else it is about is known by the change.
      config: { demand: { scopes: ['services.write', 'routes.write'] } },
      schema: {
        operationId: 'undoChange',
        summary:
          'Take a change of services, routes, the policy or a name of a peer back by a new change; 409 names what has changed since',
        tags: ['cluster'],
        body: UndoInputSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(UndoneSchema) }
      }
    },
    async (request, reply) => {
      const { body, query } = request
      const wait = new Wait(operator, reply, query.wait)
      const undone = await operator.undo(body, (kinds) => {
        if (kinds.has('policy')) access.demand(request, 'admin')
        if (kinds.has('peer')) access.demand(request, 'peers.write')
      })
      return wait.in(undone, { of: () => undone.services, now: async () => undone })
    }
  )
}
