import { Type } from 'typebox'
import { tokenScopesMax, tokenTtlMaxMs } from '../../../crdt/limits.ts'
import { SCOPES } from '../../../crdt/scopes.ts'
import { pageParameters } from '../list.ts'
import { strict, timestamp } from './common.ts'
import { waitedField } from './wait.ts'

export const TokenInputSchema = strict({
  scopes: Type.Array(Type.String({ minLength: 1 }), {
    minItems: 1,
    maxItems: tokenScopesMax,
    description: `of ${SCOPES.join(', ')}; write includes read, admin is all`
  }),
  ttl_seconds: Type.Optional(
    Type.Integer({ minimum: 1, maximum: tokenTtlMaxMs / 1000, description: '7776000, which is 90 days' })
  ),
  name: Type.Optional(Type.String({ minLength: 1, description: 'unique; made up if left out' }))
})

export const TokenQuerySchema = strict({ ...pageParameters })

export const TokenParamsSchema = strict({ id: Type.String({ description: 'ULID of a token' }) })

const fields = {
  id: Type.String({ description: 'ULID' }),
  name: Type.String(),
  scopes: Type.Array(Type.String()),
  created_at: timestamp('when it was made'),
  expires_at: timestamp('when it stops working'),
  expired: Type.Boolean({ description: "it has, by the answering agent's clock" })
}

export const TokenSchema = Type.Object(fields, { $id: 'Token' })

export const NewTokenSchema = Type.Object(
  { ...fields, token: Type.String({ description: 'secret; shown once' }), ...waitedField },
  { $id: 'NewToken' }
)

export const tokenComponents = [TokenSchema, NewTokenSchema]
