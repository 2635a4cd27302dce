import type { Operator } from '../../../actors/operator/operator.ts'
import { Type } from 'typebox'
import { ReadySchema, StatusSchema } from '../schemas/agent.ts'
import { ref } from '../schemas/common.ts'
import type { App } from '../type-provider.ts'

/** What concerns the answering agent alone: its health, metrics, and the description of this API. */
export function agentRoutes(app: App, operator: Operator): void {
  const tags = ['agent']

  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'alive',
        summary: 'Answers while the agent is alive',
        tags,
        response: { 200: Type.Object({ status: Type.Literal('ok') }) }
      }
    },
    async () => ({ status: 'ok' as const })
  )

  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'ready',
        summary: 'In a cluster, synced, data planes up; else 503 with the reasons',
        tags,
        response: { 200: ref(ReadySchema), 503: ref(ReadySchema) }
      }
    },
    async (_request, reply) => {
      const answer = await operator.ready()
      return reply.code(answer.ready ? 200 : 503).send(answer)
    }
  )

  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'metrics',
        summary: 'Prometheus text format',
        tags,
        response: {
          200: { description: 'Metrics', content: { 'text/plain': { schema: Type.String() } } }
        }
      }
    },
    async (_request, reply) => {
      const text = await operator.metrics()
      return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text)
    }
  )

  app.get(
    '/v1/status',
    {
      schema: {
        operationId: 'status',
        summary: 'Health of this agent in one answer',
        tags,
        response: { 200: ref(StatusSchema) }
      }
    },
    async () => operator.status()
  )

  app.get(
    '/v1/openapi.json',
    {
      schema: {
        operationId: 'openapi',
        summary: 'This description',
        tags,
        response: { 200: Type.Unsafe<object>({ type: 'object', additionalProperties: true }) }
      }
    },
    async () => app.swagger()
  )
}
