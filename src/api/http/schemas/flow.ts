import { Type } from 'typebox'
import { flowsDefault, flowsMax } from '../limits.ts'
import { nullable, oneOf, strict } from './common.ts'

export const FlowsQuerySchema = strict({
  sort: Type.Optional(oneOf(['bytes', 'age'], { description: 'most bytes first, the default, or oldest first' })),
  limit: Type.Optional(
    Type.String({ minLength: 1, description: `at most so many, 1 to ${flowsMax}; ${flowsDefault} when missing` })
  )
})

const milliseconds = (description: string) => nullable.integer({ description })

export const FlowSchema = Type.Object(
  {
    side: oneOf(['source', 'target'], { description: 'which end of the service this peer is' }),
    peer_id: Type.String({ description: 'the other end' }),
    client: Type.String({ description: "the client's own IP:PORT" }),
    destination: Type.String({ description: 'the IP:PORT it wanted to reach' }),
    dialled_from: nullable.string({ description: 'what the target peer dialled from' }),
    state: oneOf(['waiting', 'dialling', 'open', 'ending']),
    bytes_in: Type.Integer({ description: 'payload bytes from the client' }),
    bytes_out: Type.Integer({ description: 'payload bytes to the client' }),
    age_ms: Type.Integer(),
    connect_ms: milliseconds('how long the destination took to answer, at the target'),
    first_byte_ms: milliseconds('when the first byte came from the destination')
  },
  { $id: 'Flow' }
)

export const flowComponents = [FlowSchema]
