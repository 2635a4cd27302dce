import { Type } from 'typebox'

/** Of every question that the past can be asked. Query values are text. */
export const atParameter = {
  at: Type.Optional(
    Type.String({
      minLength: 1,
      examples: ['2026-11-20T18:00:00Z'],
      description:
        'answer as of then: a time in ISO 8601, or just after a change, by its hash or a start of it; what nobody wrote ' +
        'down (status, reachability) is null'
    })
  )
}
