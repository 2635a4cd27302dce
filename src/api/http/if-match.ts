import { Type } from 'typebox'
import { InvalidRequestError } from '../../errors.ts'
import type { App } from './type-provider.ts'

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

/** Refuses a change on a condition that nobody would look at: it would be made whether or not it holds. */
export function refuseConditions(app: App): void {
  app.addHook('preHandler', async ({ method, headers, routeOptions }) => {
    if (method === 'GET' || method === 'HEAD') return
    const taken = (routeOptions.schema?.headers as { properties?: object } | undefined)?.properties ?? {}
    const field = CONDITIONS.find((name) => headers[name] != null && !Object.hasOwn(taken, name))
    if (field == null) return
    throw new InvalidRequestError(
      `${field} is not taken here, and the change would be made whether or not it holds; leave it out (PUT and DELETE of a service take if-match)`,
      { field, in: 'headers' }
    )
  })
}

const CONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const
