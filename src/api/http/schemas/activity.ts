import { Type } from 'typebox'
import { listOf, nullable, oneOf, ref, timestamp } from './common.ts'
import { TransitionSchema } from './actor.ts'

const counted = { bytes_in: Type.Integer(), bytes_out: Type.Integer() }

const ServiceActivitySchema = Type.Object(
  {
    id: Type.String(),
    name: nullable.string(),
    role: oneOf(['source', 'target'], { description: "this host's part in it" }),
    peer_id: nullable.string({ description: 'the other end' }),
    peer_name: nullable.string(),
    phase: oneOf(['pending', 'active', 'degraded', 'deleting']),
    flows: Type.Integer({ description: 'open now' }),
    ...counted
  },
  { $id: 'ServiceActivity' }
)

const TunnelActivitySchema = Type.Object(
  {
    peer_id: Type.String(),
    peer_name: nullable.string(),
    device: Type.String(),
    endpoint: nullable.string(),
    handshake_at: nullable.string(),
    ...counted
  },
  { $id: 'TunnelActivity' }
)

const FlowActivitySchema = Type.Object(
  {
    at: timestamp('when it ended; of an open one, when it began'),
    service_id: Type.String(),
    service_name: nullable.string(),
    side: oneOf(['source', 'target']),
    client: Type.String(),
    destination: Type.String(),
    ...counted,
    duration_ms: Type.Number(),
    reason: Type.String({ description: 'why it ended; `open` as long as it has not' })
  },
  { $id: 'FlowActivity' }
)

const ActorCountSchema = Type.Object(
  { kind: Type.String(), state: nullable.string(), count: Type.Integer() },
  { $id: 'ActorCount' }
)

export const ActivitySchema = Type.Object(
  {
    at: timestamp('when it was so'),
    peer_id: Type.String(),
    peer_name: nullable.string(),
    uptime_seconds: Type.Integer(),
    services: Type.Array(ref(ServiceActivitySchema), {
      description: 'services that this host is an endpoint of, the busiest first'
    }),
    services_left_out: Type.Integer(),
    tunnels: listOf(TunnelActivitySchema),
    flows: Type.Array(ref(FlowActivitySchema), {
      description: 'open TCP flows of the busiest services, then those that ended last'
    }),
    actors: Type.Object({
      total: Type.Integer(),
      kinds: listOf(ActorCountSchema),
      latest: Type.Array(ref(TransitionSchema), { description: 'the last steps, one of each actor, newest first' })
    })
  },
  { $id: 'Activity' }
)

export const activityComponents = [
  ServiceActivitySchema,
  TunnelActivitySchema,
  FlowActivitySchema,
  ActorCountSchema,
  ActivitySchema
]
