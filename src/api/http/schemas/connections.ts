import { Type } from 'typebox'
import { listOf, nullable, timestamp } from './common.ts'

const ConnectionSchema = Type.Object(
  { source: Type.String({ description: 'address of who began it' }), dest: Type.String({ description: 'address' }) },
  { $id: 'Connection' }
)

export const ConnectionsSchema = Type.Object(
  {
    at: timestamp('when it was so'),
    peer_id: Type.String(),
    peer_name: nullable.string(),
    connections: listOf(ConnectionSchema),
    more: Type.Boolean({ description: 'there are more than these' })
  },
  { $id: 'Connections' }
)

export const connectionsComponents = [ConnectionSchema, ConnectionsSchema]
