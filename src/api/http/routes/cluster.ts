import type { Operator } from '../../../actors/operator/operator.ts'
import type { Access } from '../access.ts'
import { hangUpSignal } from '../hang-up.ts'
import {
  ClusterInitSchema,
  ClusterPatchSchema,
  ClusterSchema,
  InviteInputSchema,
  InviteSchema,
  JoinInputSchema,
  LeaveSchema,
  SyncSchema
} from '../schemas/cluster.ts'
import { EmptySchema, ref } from '../schemas/common.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { App } from '../type-provider.ts'
import { Wait } from '../wait.ts'

export function clusterRoutes(app: App, operator: Operator, access: Access): void {
  const tags = ['cluster']

  app.post(
    '/v1/cluster/init',
    {
      schema: {
        operationId: 'initCluster',
        summary: 'Make a new cluster with this peer as its first admin',
        tags,
        body: ClusterInitSchema,
        response: { 201: ref(ClusterSchema) }
      }
    },
    async ({ body }, reply) => reply.code(201).send(await operator.clusterInit(body))
  )

  app.post(
    '/v1/cluster/invites',
    {
      schema: {
        operationId: 'invite',
        summary: 'Make an invite; its token is shown once',
        tags,
        body: InviteInputSchema,
        response: { 201: ref(InviteSchema) }
      }
    },
    async (request, reply) => {
      // Who joins as an admin can do everything: nobody hands out more than he has.
      if (request.body.role !== 'member') access.demand(request, 'admin')
      return reply.code(201).send(await operator.clusterInvite(request.body))
    }
  )

  app.post(
    '/v1/cluster/join',
    {
      schema: {
        operationId: 'joinCluster',
        summary: 'Join by an invite; answers once this peer is admitted and synced',
        tags,
        body: JoinInputSchema,
        response: { 200: ref(ClusterSchema) }
      }
    },
    async ({ body }, reply) => operator.clusterJoin(body, { signal: hangUpSignal(reply) })
  )

  app.put(
    '/v1/cluster',
    {
      config: { demand: { scopes: ['admin'] } },
      schema: {
        operationId: 'updateCluster',
        summary: 'Set what the cluster allows itself',
        tags,
        body: ClusterPatchSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(ClusterSchema) }
      }
    },
    async ({ body, query }, reply) => {
      const waiting = new Wait(operator, reply, query.wait)
      const cluster = await operator.setPolicy(body.policy)
      const wait = await waiting.forMembers(null)
      return wait == null ? cluster : { ...(await operator.clusterStatus()), wait }
    }
  )

  app.post(
    '/v1/cluster/leave',
    {
      schema: {
        operationId: 'leaveCluster',
        summary: 'Sign the departure of this peer, tell the others and forget the cluster',
        tags,
        body: EmptySchema,
        response: { 200: ref(LeaveSchema) }
      }
    },
    async () => operator.clusterLeave()
  )

  app.post(
    '/v1/cluster/sync',
    {
      schema: {
        operationId: 'syncCluster',
        summary: 'Pull state from every reachable peer and re-apply kernel state now',
        tags,
        body: EmptySchema,
        response: { 200: ref(SyncSchema) }
      }
    },
    async (_request, reply) => operator.clusterSync({ signal: hangUpSignal(reply) })
  )

  app.get(
    '/v1/cluster',
    {
      schema: {
        operationId: 'getCluster',
        summary: 'Members, reachability, document heads, agreement, propagation',
        tags,
        response: { 200: ref(ClusterSchema) }
      }
    },
    async () => operator.clusterStatus()
  )
}
