import { Type, type Static } from 'typebox'
import { pageParameters } from '../list.ts'
import { waitedField } from './wait.ts'
import { atParameter } from './at.ts'
import { listOf, nullable, oneOf, ref, strict, timestamp } from './common.ts'

export const PeerQuerySchema = strict({
  all: Type.Optional(oneOf(['true', 'false'], { description: 'discovered and revoked peers too' })),
  ...atParameter,
  ...pageParameters
})

/** A missing field stays as it is. */
export const PeerPatchSchema = strict({
  name: Type.Optional(Type.String({ minLength: 1, description: 'unique among the members' })),
  role: Type.Optional(
    oneOf(['member', 'admin'], { description: 'an admin changes services, routes and peers; a member reads and runs' })
  )
})

export const PeerParamsSchema = strict({ id: Type.String({ description: 'id, unique id prefix or name' }) })

const TunnelSchema = Type.Object(
  {
    device: Type.String(),
    endpoint: nullable.string({ description: 'HOST:PORT in use, null before a handshake' }),
    handshake_at: nullable.string({ description: 'ISO 8601 in UTC' }),
    bytes_in: Type.Integer(),
    bytes_out: Type.Integer()
  },
  { $id: 'Tunnel' }
)

export const PeerNameSchema = Type.Object({ id: Type.String(), name: Type.String() }, { $id: 'PeerName' })

const DepartureSchema = Type.Object(
  {
    how: oneOf(['revoked', 'left', 'proven'], {
      description: 'proven: revoked by the proof that it signed two things as one'
    }),
    by: Type.String({ description: 'peer id' }),
    by_name: nullable.string(),
    at: timestamp('when it was written'),
    confirmed_by: Type.Array(ref(PeerNameSchema), { description: 'members that know it, and keep the peer out' }),
    awaited: Type.Array(ref(PeerNameSchema), {
      description: 'members that have not confirmed it to the answering peer'
    })
  },
  { $id: 'Departure' }
)

const PeerKeysSchema = Type.Object(
  {
    pegasus: Type.String({ description: 'X25519 public key in Base64' }),
    tempest: Type.String({ description: 'X25519 public key in Base64' }),
    made_at: nullable.string({
      description: "ISO 8601 in UTC, by that peer's clock; null of an agent that does not say"
    }),
    changing: Type.Boolean({ description: 'the keys before are still good' }),
    in_force: Type.Array(ref(PeerNameSchema), { description: 'ends of its services that have these keys in force' }),
    awaited: Type.Array(ref(PeerNameSchema), { description: 'ends that have not said so to the answering peer' })
  },
  { $id: 'PeerKeys' }
)

export const PeerSchema = Type.Object(
  {
    id: Type.String({ description: 'libp2p peer id' }),
    name: nullable.string(),
    state: oneOf(['discovered', 'admitted', 'revoked']),
    role: nullable.oneOf(['member', 'admin', 'leaf']),
    addresses: Type.Array(Type.String()),
    reachable: nullable.boolean({ description: 'null in answers from the past' }),
    rtt_ms: nullable.number(),
    last_seen_at: nullable.string({ description: 'ISO 8601 in UTC' }),
    version: nullable.string(),
    keys: Type.Unsafe<Static<typeof PeerKeysSchema> | null>({
      anyOf: [{ $ref: 'PeerKeys#' }, { type: 'null' }],
      description: 'of its data planes; null of who is no member, and in answers from the past'
    }),
    departure: Type.Unsafe<Static<typeof DepartureSchema> | null>({
      anyOf: [{ $ref: 'Departure#' }, { type: 'null' }],
      description: 'how it ceased to be a member'
    }),
    tunnels: listOf(TunnelSchema),
    ...waitedField
  },
  { $id: 'Peer' }
)

export const peerComponents = [TunnelSchema, PeerNameSchema, PeerKeysSchema, DepartureSchema, PeerSchema]
