import { Type } from 'typebox'
import type { HistoryStateJson } from '../../../actors/operator/behind.ts'
import { inviteTokenLengthMax, inviteTtlMaxMs, inviteUsesMax, servicesPolicyMax } from '../../../crdt/limits.ts'
import { listOf, nullable, oneOf, ref, strict, timestamp } from './common.ts'
import { PeerNameSchema } from './peer.ts'
import { waitedField } from './wait.ts'

const ttlSecondsMax = inviteTtlMaxMs / 1000

export const ClusterInitSchema = strict({ name: Type.Optional(Type.String({ minLength: 1 })) })

export const ClusterPatchSchema = strict({
  policy: strict(
    {
      max_services: Type.Optional(
        nullable.integer({
          minimum: 0,
          maximum: servicesPolicyMax,
          description: 'no more are created while there are so many; null is no limit'
        })
      )
    },
    { minProperties: 1 }
  )
})

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

const DepartedSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    how: oneOf(['revoked', 'left', 'proven'], {
      description: 'proven: revoked by the proof that it signed two things as one'
    }),
    by: Type.String({ description: 'peer id' }),
    by_name: nullable.string(),
    at: timestamp('when it was written')
  },
  { $id: 'Departed' }
)

export const LeaveSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    told: Type.Array(ref(PeerNameSchema), { description: 'members that know of it' }),
    missed: Type.Array(ref(PeerNameSchema), { description: 'members that could not be reached; others tell them' }),
    log_kept_as: Type.String({ description: 'where the log of the cluster is kept' })
  },
  { $id: 'Leave' }
)

const RejectedChangeSchema = Type.Object(
  { hash: Type.String(), author: Type.String(), reason: Type.String() },
  { $id: 'RejectedChange' }
)

const HistoryStateSchema = Type.Object(
  {
    state: oneOf(['verified', 'verifying'], {
      description: 'verifying: it serves by a snapshot that an admin has signed, and verifies the history behind it'
    }),
    verified: nullable.integer({ description: 'of the entries behind the snapshot; null when all is verified' }),
    entries: nullable.integer(),
    epoch: nullable.string({ description: 'hash of the entry by which the snapshot is believed' }),
    signed_by: nullable.string({ description: 'peer id' }),
    signed_by_name: nullable.string(),
    contradiction: Type.Unsafe<HistoryStateJson['contradiction']>({
      type: ['object', 'null'],
      description:
        'the history has shown that the snapshot was wrong; null when it has not, since the start of the agent',
      properties: {
        epoch: nullable.string(),
        signed_by: nullable.string({ description: 'peer id' }),
        signed_by_name: nullable.string(),
        at: timestamp('when it was found'),
        message: Type.String()
      }
    })
  },
  { $id: 'HistoryState' }
)

export const ClusterSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    self: Type.String({ description: 'id of the answering peer' }),
    notice: nullable.string({ description: "what went wrong with this peer's membership, and what to do" }),
    members: listOf(MemberSchema),
    departed: Type.Array(ref(DepartedSchema), { description: 'who was a member once, the latest first' }),
    heads: Type.Unsafe<readonly string[]>({ type: 'array', items: { type: 'string' } }),
    history: ref(HistoryStateSchema),
    agreed: Type.Boolean({ description: 'all reachable peers hold the same document as this one' }),
    policy: Type.Object({ max_services: nullable.integer({ description: 'null is no limit' }) }),
    ...waitedField,
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
  DepartedSchema,
  LeaveSchema,
  RejectedChangeSchema,
  HistoryStateSchema,
  ClusterSchema,
  SyncPeerSchema,
  SyncSchema
]
