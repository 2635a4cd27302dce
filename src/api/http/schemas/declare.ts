import { Type } from 'typebox'
import { routesPerRequestMax } from '../../../crdt/limits.ts'
import { confirmWithinMaxSeconds, meshServicesMax } from '../../declare/limits.ts'
import type { Change } from '../../declare/mesh-file.ts'
import { listOf, nullable, strict, timestamp } from './common.ts'
import { RouteInputSchema } from './route.ts'
import { mutableFields } from './service.ts'
import { waitedField } from './wait.ts'

const { name: _, ...serviceFields } = mutableFields

const meshServiceFields = {
  id: Type.Optional(Type.String({ minLength: 1, description: 'only where several services have one name' })),
  name: Type.String({ minLength: 1, description: 'which service is meant' }),
  source_peer: Type.String({ minLength: 1, description: 'id, unique id prefix or name' }),
  target_peer: Type.String({ minLength: 1, description: 'id, unique id prefix or name' }),
  ...serviceFields,
  routes: Type.Optional(Type.Array(RouteInputSchema, { maxItems: 10 * routesPerRequestMax }))
}
const servicesOf = Type.Array(strict(meshServiceFields), {
  maxItems: meshServicesMax,
  description: 'each described whole: what is left out has its default'
})

export const MeshSchema = Type.Object({ services: servicesOf }, { $id: 'Mesh' })

export const ApplyInputSchema = strict({
  services: servicesOf,
  prune: Type.Optional(Type.Boolean({ description: 'delete services that are not named' })),
  dry_run: Type.Optional(Type.Boolean({ description: 'answer the steps and take none' })),
  confirm_within_seconds: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: confirmWithinMaxSeconds,
      description: 'takes itself back unless confirmed in time, whatever happens to the asker'
    })
  )
})

const ChangeSchema = Type.Unsafe<Change>({
  $id: 'Change',
  type: 'object',
  required: ['action', 'kind', 'service', 'service_id', 'route_id', 'before', 'after'],
  properties: {
    action: { type: 'string', enum: ['create', 'update', 'delete'] },
    kind: { type: 'string', enum: ['service', 'route'] },
    service: { type: 'string', description: 'name of the service' },
    service_id: { type: ['string', 'null'], description: 'null: not made yet' },
    route_id: { type: ['string', 'null'] },
    before: { type: ['object', 'null'], description: 'of an updated service, the fields that differ' },
    after: { type: ['object', 'null'] }
  }
})

const PeerRulesSchema = Type.Object(
  {
    peer_id: Type.String(),
    name: nullable.string(),
    added: Type.Array(Type.String(), {
      description: 'lines of table inet arctic: its objects, rules and elements'
    }),
    removed: Type.Array(Type.String()),
    more: Type.Integer({ description: 'lines left out' }),
    problem: nullable.string({ description: 'why the lines are not known; null when they are' })
  },
  { $id: 'PeerRules' }
)

export const AppliedSchema = Type.Object(
  {
    dry_run: Type.Boolean(),
    changes: listOf(ChangeSchema),
    rules: Type.Union([listOf(PeerRulesSchema), Type.Null()], {
      description: 'of a dry run: what would change in the rules of each peer concerned'
    }),
    pending: Type.Unsafe<{ expires_at: string } | null>({
      type: ['object', 'null'],
      description: 'what waits for a confirmation, and until when',
      properties: { expires_at: timestamp('when it takes itself back') }
    }),
    ...waitedField
  },
  { $id: 'Applied' }
)

export const PendingSchema = Type.Object({ expires_at: nullable.string() }, { $id: 'PendingApply' })
export const ConfirmedSchema = Type.Object({ confirmed: Type.Integer() }, { $id: 'Confirmed' })

export const declareComponents = [
  MeshSchema,
  ChangeSchema,
  PeerRulesSchema,
  AppliedSchema,
  PendingSchema,
  ConfirmedSchema
]
