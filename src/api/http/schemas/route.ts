import { Type } from 'typebox'
import type { RouteTestJson } from '../../../actors/operator/operator.ts'
import { RULES } from '../../../actors/operator/route-rules.ts'
import { priorityMax, routesPerRequestMax } from '../../../crdt/limits.ts'
import { pageParameters } from '../list.ts'
import { atParameter } from './at.ts'
import { listOf, nullable, oneOf, ref, strict, timestamp } from './common.ts'
import { waitedField } from './wait.ts'

/** A route as it is added or changed: in an update, a missing field stays as it is and `null` removes a CIDR. */
export const RouteInputSchema = strict({
  source_cidr: Type.Optional(nullable.string({ examples: ['10.1.0.0/24'], description: 'what the client has' })),
  dest_cidr: Type.Optional(nullable.string({ examples: ['10.2.0.0/24'], description: 'what the client wants' })),
  priority: Type.Optional(
    Type.Integer({ minimum: 0, maximum: priorityMax, description: 'higher wins among equally specific routes; 100' })
  )
})

export const RoutesInputSchema = strict({
  routes: Type.Array(RouteInputSchema, { minItems: 1, maxItems: routesPerRequestMax })
})

export const RouteParamsSchema = strict({
  id: Type.String({ description: 'service id (ULID)' }),
  route_id: Type.String({ description: 'route id (ULID)' })
})

export const RouteQuerySchema = strict({
  service_id: Type.Optional(Type.String({ minLength: 1 })),
  ...atParameter,
  ...pageParameters
})

export const PageQuerySchema = strict({ ...atParameter, ...pageParameters })

export const RouteSchema = Type.Object(
  {
    id: Type.String({ description: 'ULID' }),
    service_id: Type.String(),
    source_cidr: nullable.string(),
    dest_cidr: nullable.string(),
    priority: Type.Integer(),
    status: nullable.oneOf(['pending', 'active', 'degraded'], { description: 'null in answers from the past' }),
    ...waitedField
  },
  { $id: 'Route' }
)

export const RouteTestQuerySchema = strict({
  source: Type.String({ minLength: 1, description: 'IP address' }),
  dest: Type.String({ minLength: 1, description: 'IP address' }),
  protocol: Type.Optional(Type.String({ minLength: 1, description: 'tcp, udp, icmp or an IP protocol number' })),
  interface: Type.Optional(Type.String({ minLength: 1, description: 'device by which the packet enters' })),
  ...atParameter,
  trace: Type.Optional(oneOf(['true', 'false'], { description: 'answer every candidate and why it lost' }))
})

const RouteCandidateSchema = Type.Object(
  {
    service_id: Type.String(),
    route_id: nullable.string(),
    won: Type.Boolean(),
    rule: oneOf(RULES, { description: 'by which point of the order it won, or lost against the winner' }),
    reason: Type.String()
  },
  { $id: 'RouteCandidate' }
)

const RouteOriginSchema = Type.Object(
  {
    id: Type.String({ description: 'hash of the change; see "arctic cluster history"' }),
    author: Type.String({ description: 'peer id' }),
    author_name: nullable.string(),
    at: timestamp("by the author's clock")
  },
  { $id: 'RouteOrigin' }
)

export const RouteTestSchema = Type.Object(
  {
    service_id: nullable.string(),
    route_id: nullable.string(),
    target_peer_id: nullable.string(),
    handler: oneOf(['pegasus', 'tempest', 'none']),
    reason: Type.String(),
    change: Type.Optional(
      Type.Unsafe<RouteTestJson['change']>({
        description: 'with trace: the change that put the winner there',
        anyOf: [ref(RouteOriginSchema), { type: 'null' }]
      })
    ),
    candidates: Type.Optional(listOf(RouteCandidateSchema))
  },
  { $id: 'RouteTest' }
)

export const routeComponents = [RouteSchema, RouteCandidateSchema, RouteOriginSchema, RouteTestSchema]
