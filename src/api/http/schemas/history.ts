import { Type, type Static } from 'typebox'
import { historyLimitDefault, historyLimitMax } from '../../../actors/limits.ts'
import type { ChangedObjectJson } from '../../../actors/operator/history-json.ts'
import { listOf, nullable, oneOf, ref, strict, timestamp } from './common.ts'
import { waitedField } from './wait.ts'

export const HistoryQuerySchema = strict({
  service: Type.Optional(
    Type.String({ minLength: 1, description: 'only this service and its routes; one that is gone by its id' })
  ),
  object: Type.Optional(Type.String({ minLength: 1, description: 'only this service, route or peer' })),
  author: Type.Optional(Type.String({ minLength: 1, description: 'only by this peer' })),
  since: Type.Optional(Type.String({ minLength: 1, description: 'only since this time; ISO 8601 with its zone' })),
  until: Type.Optional(Type.String({ minLength: 1, description: 'only up to this time, which is included; likewise' })),
  limit: Type.Optional(
    Type.String({
      minLength: 1,
      description: `at most so many, the newest ones, 1 to ${historyLimitMax}; ${historyLimitDefault}`
    })
  )
})

const ChangedObjectSchema = Type.Object(
  {
    kind: oneOf(['service', 'route', 'peer', 'token', 'policy', 'cluster', 'actor']),
    id: Type.String(),
    name: nullable.string(),
    action: oneOf([
      'created',
      'updated',
      'deleted',
      'sent',
      'admit',
      'revoke',
      'role',
      'leave',
      'proof',
      'epoch',
      'unknown'
    ]),
    fields: Type.Unsafe<ChangedObjectJson['fields']>({
      type: 'object',
      description: 'per field what was there before and after; a side where there was nothing is left out',
      additionalProperties: { type: 'object', properties: { before: {}, after: {} }, additionalProperties: false }
    })
  },
  { $id: 'ChangedObject' }
)

export const ChangeSchema = Type.Object(
  {
    id: Type.String({ description: 'hash of the change' }),
    at: timestamp("by the author's clock"),
    author: Type.String({ description: 'peer id' }),
    author_name: nullable.string(),
    via: nullable.string({
      description: "`token ID NAME` that asked for it; null: the author's own operator or itself"
    }),
    kind: oneOf(['change', 'auth', 'other'], {
      description: 'auth: of who belongs to the cluster; other: of a newer version'
    }),
    objects: listOf(ChangedObjectSchema),
    verified: Type.Boolean({ description: "the author's signature, checked again just now" }),
    pending: Type.Optional(
      Type.Boolean({
        description: 'its signature has not come yet: it is behind a snapshot that this peer has joined with'
      })
    ),
    valid: Type.Boolean({ description: 'it counts' }),
    reason: nullable.string({ description: 'why it does not count' })
  },
  { $id: 'HistoryChange' }
)

export const UndoInputSchema = strict({
  change: Type.String({
    minLength: 1,
    maxLength: 64,
    description: 'hash of a change, or a start of it that no other has'
  })
})

export const UndoneSchema = Type.Object(
  {
    undone: Type.String({ description: 'hash of the change that was taken back' }),
    change: ref(ChangeSchema),
    services: Type.Array(
      Type.Object({ id: Type.String(), source_peer_id: Type.String(), target_peer_id: Type.String() }),
      { description: 'what it concerns' }
    ),
    ...waitedField
  },
  { $id: 'Undone' }
)

const FlawSchema = Type.Object(
  {
    position: Type.Integer({ description: "in this peer's log, from 1; 0 is the genesis" }),
    id: nullable.string({ description: 'hash of the change' }),
    author: nullable.string({ description: 'peer id' }),
    author_name: nullable.string(),
    message: Type.String()
  },
  { $id: 'Flaw' }
)

export const VerificationSchema = Type.Object(
  {
    ok: Type.Boolean(),
    cluster_id: Type.String(),
    founder: Type.String({ description: 'peer id' }),
    founded_at: timestamp("by the founder's clock"),
    verified: Type.Integer({ description: 'signed, whole, and on top of what comes before; up to the first flaw' }),
    changes: Type.Integer(),
    auth_entries: Type.Integer({ description: 'of who belongs to the cluster' }),
    invalid: Type.Integer({ description: 'of both, those that do not count, by the rules and not by a flaw' }),
    authors: Type.Integer(),
    bytes: Type.Integer(),
    flaw: Type.Unsafe<Static<typeof FlawSchema> | null>({
      anyOf: [ref(FlawSchema), { type: 'null' }],
      description: 'the first'
    })
  },
  { $id: 'Verification' }
)

export const EpochSchema = Type.Object(
  {
    id: Type.String({ description: 'hash of the entry of the auth log' }),
    at: timestamp("by the author's clock"),
    author: Type.String({ description: 'peer id' }),
    author_name: nullable.string(),
    entries: Type.Integer({ description: 'changes and entries of the auth log that it covers' }),
    bytes: Type.Integer({ description: 'size of the snapshot that a peer which joins takes over' }),
    digest: Type.String({ description: 'its SHA-256' })
  },
  { $id: 'Epoch' }
)

export const historyComponents = [
  ChangedObjectSchema,
  ChangeSchema,
  EpochSchema,
  UndoneSchema,
  FlawSchema,
  VerificationSchema
]
