import type { Operator } from '../../../actors/operator/operator.ts'
import { Type } from 'typebox'
import type { Access } from '../access.ts'
import { ReadySchema, StatusSchema } from '../schemas/agent.ts'
import { ref } from '../schemas/common.ts'
import { DoctorSchema } from '../schemas/doctor.ts'
import type { App } from '../type-provider.ts'

/** What concerns the answering agent alone: its health, metrics, and the description of this API. */
export function agentRoutes(app: App, operator: Operator, access: Access): void {
  const tags = ['agent']

  app.get(
    '/healthz',
    {
      config: { demand: { scopes: [], open: 'always' } },
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
      config: { demand: { scopes: ['cluster.read'], open: 'always' } },
      schema: {
        operationId: 'ready',
        summary: 'In a cluster, synced, data planes up; else 503 with the reasons, for who may know them',
        tags,
        response: { 200: ref(ReadySchema), 503: ref(ReadySchema) }
      }
    },
    async (request, reply) => {
      const { ready, reasons } = await operator.ready()
      // Reasons name peers and services; a probe from anywhere needs the status alone.
      return reply
        .code(ready ? 200 : 503)
        .send({ ready, reasons: access.mayKnow(request, 'cluster.read') ? reasons : [] })
    }
  )

  app.get(
    '/metrics',
    {
      config: { demand: { scopes: ['cluster.read'], open: 'loopback' } },
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
      config: { demand: { scopes: ['cluster.read'] } },
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
    '/v1/doctor',
    {
      config: { demand: { scopes: ['cluster.read', 'peers.read'] } },
      schema: {
        operationId: 'doctor',
        summary: "Checks this agent's host, itself and its way to each member, with what to do about what it finds",
        tags,
        response: { 200: ref(DoctorSchema) }
      }
    },
    async () => operator.doctor()
  )

  app.get(
    '/v1/openapi.json',
    {
      config: { demand: { scopes: [] } },
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
