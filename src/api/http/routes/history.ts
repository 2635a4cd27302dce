import type { Operator } from '../../../actors/operator/operator.ts'
import { historyLimitMax } from '../../../actors/limits.ts'
import { readLimit, sendList } from '../list.ts'
import { listOf } from '../schemas/common.ts'
import { ChangeSchema, HistoryQuerySchema } from '../schemas/history.ts'
import type { App } from '../type-provider.ts'

export function historyRoutes(app: App, operator: Operator): void {
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
}
