import { Type } from 'typebox'
import { inviteTokenLengthMax, inviteTtlMaxMs, inviteUsesMax } from '../../../crdt/limits.ts'
import { listOf, nullable, oneOf, strict, timestamp } from './common.ts'

const ttlSecondsMax = inviteTtlMaxMs / 1000

export const ClusterInitSchema = strict({ name: Type.Optional(Type.String({ minLength: 1 })) })

export const InviteInputSchema = strict({
  ttl_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: ttlSecondsMax, description: '3600' })),
  uses: Type.Optional(
    Type.Integer({ minimum: 1, maximum: inviteUsesMax, description: 'how many peers may join by it; 1' })
  ),
  role: Type.Optional(oneOf(['member', 'admin'], { description: 'what they become; admin' }))
})

export const InviteSchema = Type.Object(
  {
    token: Type.String({ description: 'secret; whoever has it can join' }),
    expires_at: timestamp('when it stops working'),
    uses: Type.Integer(),
    role: oneOf(['member', 'admin'])
  },
  { $id: 'Invite' }
)

export const JoinInputSchema = strict({ token: Type.String({ minLength: 1, maxLength: inviteTokenLengthMax }) })

const MemberSchema = Type.Object(
  {
    id: Type.String(),
    name: nullable.string(),
    role: oneOf(['member', 'admin']),
    reachable: Type.Boolean(),
    heads: Type.Unsafe<readonly string[] | null>({ type: ['array', 'null'], items: { type: 'string' } })
  },
  { $id: 'Member' }
)

const RejectedChangeSchema = Type.Object(
  { hash: Type.String(), author: Type.String(), reason: Type.String() },
  { $id: 'RejectedChange' }
)

export const ClusterSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    self: Type.String({ description: 'id of the answering peer' }),
    members: listOf(MemberSchema),
    heads: Type.Unsafe<readonly string[]>({ type: 'array', items: { type: 'string' } }),
    agreed: Type.Boolean({ description: 'all reachable peers hold the same document as this one' }),
    propagation_ms: Type.Object({
      p50: nullable.number(),
      p99: nullable.number(),
      samples: Type.Integer()
    }),
    rejected_changes: listOf(RejectedChangeSchema),
    copied_identities: Type.Array(Type.Object({ id: Type.String(), name: nullable.string(), message: Type.String() }), {
      description: 'members whose identity two agents bear at once'
    })
  },
  { $id: 'Cluster' }
)

const SyncPeerSchema = Type.Object(
  {
    id: Type.String(),
    name: nullable.string(),
    received: Type.Integer(),
    sent: Type.Integer(),
    error: nullable.string()
  },
  { $id: 'SyncPeer' }
)

export const SyncSchema = Type.Object(
  {
    peers: listOf(SyncPeerSchema),
    changes: Type.Array(Type.String(), { description: 'what the re-apply changed in the kernel or the engines' })
  },
  { $id: 'Sync' }
)

export const clusterComponents = [
  InviteSchema,
  MemberSchema,
  RejectedChangeSchema,
  ClusterSchema,
  SyncPeerSchema,
  SyncSchema
]
