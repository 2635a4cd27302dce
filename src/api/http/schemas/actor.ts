import { Type } from 'typebox'
import type { ActorDetailJson, SentEvent } from '../../../actors/operator/actor-json.ts'
import type { ActorJson } from '../../../actors/operator/operator.ts'
import { listOf, nullable, oneOf, strict, timestamp } from './common.ts'

const STATUSES = ['active', 'done', 'error', 'stopped'] as const

const peerParameter = {
  peer: Type.Optional(
    Type.String({ minLength: 1, description: 'of the agent of this member: id, unique id prefix or name' })
  )
}

export const ActorQuerySchema = strict(peerParameter)
export const ActorSendQuerySchema = strict({
  ...peerParameter,
  wait: Type.Optional(
    oneOf(['true', 'false'], {
      description: '`false`: 202 as soon as it is on its way; what becomes of it is not told'
    })
  )
})
export const ActorWatchQuerySchema = strict({
  ...peerParameter,
  path: Type.Optional(Type.String({ minLength: 1, description: 'only this actor; without it, all' })),
  only: Type.Optional(oneOf(['end'], { description: 'one event, `ended`, when the actor at `path` ends' }))
})
export const ActorParamsSchema = strict({
  path: Type.String({
    minLength: 1,
    description: '`kind:name`, or `actor://PEER/kind:name`; services and peers may go by name'
  })
})

/** Fields beside `type` depend on the actor: its `takes` names them, and the actor refuses others. */
export const SentEventSchema = Type.Unsafe<SentEvent>({
  $id: 'ActorEvent',
  type: 'object',
  required: ['type'],
  properties: { type: { type: 'string', minLength: 1, maxLength: 100 } },
  additionalProperties: { type: ['string', 'number', 'boolean'] },
  maxProperties: 16
})

export const ActorSchema = Type.Unsafe<ActorJson>({
  $id: 'Actor',
  type: 'object',
  required: ['path', 'state', 'status', 'children'],
  properties: {
    path: { type: 'string', description: '`kind:name`; the root is `agent`' },
    state: { type: ['string', 'null'] },
    status: { type: 'string', enum: STATUSES },
    children: { type: 'array', items: { $ref: 'Actor#' } }
  }
})

const transition = {
  at: timestamp('when it happened'),
  path: Type.String(),
  reason: nullable.string({ description: "the event's own reason, or what was thrown" }),
  from: nullable.string(),
  to: nullable.string(),
  status: oneOf(STATUSES),
  by: nullable.string({ description: "who sent the event by hand; null for the agent's own doing" })
}

export const TransitionSchema = Type.Object(
  { ...transition, event: Type.String({ description: 'what caused it' }) },
  { $id: 'ActorTransition' }
)

const ChartSchema = Type.Object(
  {
    states: Type.Array(
      Type.Object({
        path: Type.String(),
        initial: Type.Boolean(),
        final: Type.Boolean(),
        parallel: Type.Boolean(),
        current: Type.Boolean()
      })
    ),
    moves: Type.Array(
      Type.Object({ from: Type.String({ description: 'empty: any' }), event: Type.String(), to: nullable.string() })
    )
  },
  { $id: 'ActorChart' }
)

export const ActorDetailSchema = Type.Unsafe<ActorDetailJson>({
  $id: 'ActorDetail',
  type: 'object',
  required: ['path', 'state', 'status', 'children', 'peer_id', 'context', 'takes', 'chart', 'history'],
  properties: {
    path: { type: 'string' },
    state: { type: ['string', 'null'] },
    status: { type: 'string', enum: STATUSES },
    children: { type: 'array', items: { $ref: 'Actor#' } },
    peer_id: { type: 'string' },
    context: { type: 'object', additionalProperties: true, description: 'what it works with, long lists cut' },
    takes: {
      type: 'array',
      description: 'events that may be sent to it; `now`: heard in the present state',
      items: {
        type: 'object',
        required: ['type', 'fields', 'now'],
        properties: {
          type: { type: 'string' },
          fields: { type: 'object', additionalProperties: { type: 'string', enum: ['string', 'number', 'boolean'] } },
          now: { type: 'boolean' }
        }
      }
    },
    chart: { anyOf: [{ $ref: 'ActorChart#' }, { type: 'null' }] },
    history: { type: 'array', items: { $ref: 'ActorTransition#' } }
  }
})

export const ActorSentSchema = Type.Object(
  {
    path: Type.String(),
    event: Type.String(),
    from: nullable.string(),
    to: nullable.string(),
    status: oneOf(STATUSES),
    caused: listOf(TransitionSchema)
  },
  { $id: 'ActorSent' }
)

export const actorComponents = [
  ActorSchema,
  TransitionSchema,
  ChartSchema,
  ActorDetailSchema,
  ActorSentSchema,
  SentEventSchema
]
