import { Type } from 'typebox'
import { nullable } from './common.ts'

export const LicenseSchema = Type.Object(
  {
    edition: Type.String({ description: '`community` without a good licence' }),
    holder: nullable.string(),
    limits: Type.Object(
      { services: nullable.integer({ description: 'null is none' }) },
      { description: "in force: the lower one of the licence's and the cluster policy's" }
    ),
    usage: Type.Object({ services: Type.Integer(), peers: Type.Integer() }),
    issued_at: nullable.string({ description: 'ISO 8601 in UTC' }),
    expires_at: nullable.string({ description: 'ISO 8601 in UTC; null never' }),
    file: nullable.string({ description: 'where the licence is' }),
    problem: nullable.string({ description: 'why the file does not count, and what to do' }),
    peer: Type.String({ description: 'whose licence it is: each agent has its own' })
  },
  { $id: 'License' }
)
