import { Type } from 'typebox'
import { InvalidRequestError } from '../../errors.ts'

export const IfMatchSchema = Type.Object({
  'if-match': Type.Optional(
    Type.String({ description: 'an ETag as it was answered: 412 if the specification has changed since' })
  )
})

/** The tags of an `If-Match` header (RFC 9110 §13.1.1); none given, and `*`, which every service matches, are no condition. */
export function readIfMatch(header: string | undefined): { ifMatch?: readonly string[] } {
  const text = header?.trim()
  if (text == null || text === '*') return {}
  if (!/^(W\/)?"[^"]*"(\s*,\s*(W\/)?"[^"]*")*$/.test(text)) {
    throw new InvalidRequestError('If-Match must be an ETag with its quotes, a list of them, or *', {
      field: 'if-match',
      in: 'headers'
    })
  }
  // A weak tag matches nothing: If-Match compares strongly.
  return { ifMatch: text.match(/(W\/)?"[^"]*"/g) ?? [] }
}
