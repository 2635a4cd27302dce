import { Type } from 'typebox'
import { listOf, nullable, oneOf, ref } from './common.ts'

const FailureSchema = Type.Object({ reason: Type.String(), message: Type.String() }, { $id: 'Failure' })

const EngineSchema = Type.Object(
  {
    engine: Type.String(),
    state: Type.String(),
    pid: nullable.integer(),
    version: nullable.string(),
    restarts: Type.Integer(),
    draining: Type.Array(Type.Object({ pid: Type.Integer(), version: Type.String() }), {
      description: 'Engines of builds before this one that still have flows.'
    })
  },
  { $id: 'Engine' }
)

const AgentPeerSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    version: Type.String(),
    state_dir: Type.String(),
    uptime_seconds: Type.Number()
  },
  { $id: 'AgentPeer' }
)

const AgentClusterSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    members: Type.Integer(),
    reachable: Type.Integer(),
    role: nullable.oneOf(['member', 'admin'], { description: 'of this peer; null when it is no member any more' }),
    notice: nullable.string({ description: 'what went wrong with its membership, and what to do' })
  },
  { $id: 'AgentCluster' }
)

export const StatusSchema = Type.Object(
  {
    peer: ref(AgentPeerSchema),
    cluster: Type.Unsafe<{ id: string; name: string; members: number; reachable: number } | null>({
      anyOf: [ref(AgentClusterSchema), { type: 'null' }]
    }),
    dataplane: Type.Object({
      mode: oneOf(['kernel', 'none']),
      failure: Type.Unsafe<{ reason: string; message: string } | null>({
        anyOf: [ref(FailureSchema), { type: 'null' }]
      }),
      engines: listOf(EngineSchema)
    }),
    services: Type.Object({
      total: Type.Integer(),
      active: Type.Integer(),
      pending: Type.Integer(),
      degraded: Type.Integer()
    }),
    listen: Type.Object({
      mesh: Type.Array(Type.String()),
      data: Type.String(),
      api: nullable.string(),
      socket: Type.String(),
      api_fingerprint: nullable.string()
    }),
    license: Type.Object({
      edition: Type.String(),
      problem: nullable.string({ description: 'why the licence does not count' })
    }),
    ready: Type.Boolean(),
    reasons: Type.Array(Type.String(), { description: 'why it is not ready' })
  },
  { $id: 'Status' }
)

export const ReadySchema = Type.Object({ ready: Type.Boolean(), reasons: Type.Array(Type.String()) }, { $id: 'Ready' })

export const agentComponents = [
  FailureSchema,
  EngineSchema,
  AgentPeerSchema,
  AgentClusterSchema,
  StatusSchema,
  ReadySchema
]
