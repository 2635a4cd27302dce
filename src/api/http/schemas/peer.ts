import { Type } from 'typebox'
import { pageParameters } from '../list.ts'
import { listOf, nullable, oneOf, strict } from './common.ts'

export const PeerQuerySchema = strict({
  all: Type.Optional(oneOf(['true', 'false'], { description: 'discovered and revoked peers too' })),
  ...pageParameters
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

export const PeerSchema = Type.Object(
  {
    id: Type.String({ description: 'libp2p peer id' }),
    name: nullable.string(),
    state: oneOf(['discovered', 'admitted', 'revoked']),
    role: nullable.oneOf(['member', 'admin', 'leaf']),
    addresses: Type.Array(Type.String()),
    reachable: Type.Boolean(),
    rtt_ms: nullable.number(),
    last_seen_at: nullable.string({ description: 'ISO 8601 in UTC' }),
    version: nullable.string(),
    tunnels: listOf(TunnelSchema)
  },
  { $id: 'Peer' }
)

export const peerComponents = [TunnelSchema, PeerSchema]
