import { Type, type Static } from 'typebox'
import { bandwidthLimitMbpsMax } from '../../../crdt/limits.ts'
import { pageParameters } from '../list.ts'
import { atParameter } from './at.ts'
import { listOf, nullable, oneOf, ref, strict, timestamp } from './common.ts'
import { waitedField } from './wait.ts'

const cidr = (family: string) =>
  nullable.string({ description: `${family} address and prefix of the service's own device`, examples: [null] })

/** Fields that both create and update take. */
export const mutableFields = {
  name: Type.Optional(Type.String({ description: 'human name; made up when missing' })),
  transport_type: Type.Optional(oneOf(['tcp', 'kcp'], { description: 'how TCP is carried between the two peers' })),
  requires_interface: Type.Optional(Type.Boolean({ description: 'make a MACVLAN device on the source peer' })),
  desired_ipv4_cidr: Type.Optional(cidr('IPv4')),
  desired_ipv6_cidr: Type.Optional(cidr('IPv6')),
  bandwidth_limit_mbps: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: bandwidthLimitMbpsMax,
      description: 'Mbit/s of TCP payload per direction; 0 is unlimited'
    })
  ),
  fully_transparent: Type.Optional(Type.Boolean({ description: "keep the client's source address (TCP only)" }))
}

export const ServiceInputSchema = strict({
  target_peer_id: Type.String({ minLength: 1, description: 'id, unique id prefix or name' }),
  source_peer_id: Type.Optional(
    Type.String({ minLength: 1, description: 'id, unique id prefix or name; the answering peer when missing' })
  ),
  ...mutableFields
})

export const ServicePatchSchema = strict(mutableFields)

export const ServiceQuerySchema = strict({
  target_peer_id: Type.Optional(Type.String({ minLength: 1 })),
  source_peer_id: Type.Optional(Type.String({ minLength: 1 })),
  ...atParameter,
  ...pageParameters
})

/** Of one service. */
export const AtQuerySchema = strict(atParameter)

export const ServiceParamsSchema = strict({ id: Type.String({ description: 'service id (ULID)' }) })

const ConditionSchema = Type.Object(
  {
    type: Type.String(),
    status: Type.Boolean(),
    reason: Type.String({ description: 'CamelCase, for programs' }),
    message: Type.String(),
    since: timestamp('when it became so')
  },
  { $id: 'Condition' }
)

const ServiceInterfaceSchema = Type.Object(
  { name: Type.String(), mac: nullable.string(), ipv4: nullable.string(), ipv6: nullable.string() },
  { $id: 'ServiceInterface' }
)

const ServiceStatusSchema = Type.Object(
  {
    phase: oneOf(['pending', 'active', 'degraded', 'deleting']),
    conditions: listOf(ConditionSchema),
    effective_transport: nullable.oneOf(['tcp', 'kcp'], { description: 'what is in force, whatever was asked for' }),
    interface: Type.Unsafe<{ name: string; mac: string | null; ipv4: string | null; ipv6: string | null } | null>({
      anyOf: [ref(ServiceInterfaceSchema), { type: 'null' }]
    }),
    flows: Type.Integer({ description: 'open TCP flows' }),
    bytes_in: Type.Integer({ description: "payload bytes from the clients' side" }),
    bytes_out: Type.Integer({ description: "payload bytes to the clients' side" })
  },
  { $id: 'ServiceStatus' }
)

export const ServiceSchema = Type.Object(
  {
    id: Type.String({ description: 'ULID' }),
    name: Type.String(),
    source_peer_id: Type.String(),
    target_peer_id: Type.String(),
    transport_type: oneOf(['tcp', 'kcp']),
    requires_interface: Type.Boolean(),
    desired_ipv4_cidr: nullable.string(),
    desired_ipv6_cidr: nullable.string(),
    bandwidth_limit_mbps: Type.Number(),
    fully_transparent: Type.Boolean(),
    created_at: timestamp('when it was created'),
    updated_at: timestamp('when its specification last changed'),
    status: Type.Unsafe<Static<typeof ServiceStatusSchema> | null>({
      anyOf: [ref(ServiceStatusSchema), { type: 'null' }],
      description: 'what is in force; null in answers from the past'
    }),
    ...waitedField
  },
  { $id: 'Service' }
)

export const serviceComponents = [ConditionSchema, ServiceInterfaceSchema, ServiceStatusSchema, ServiceSchema]
