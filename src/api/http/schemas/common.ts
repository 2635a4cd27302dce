import type { Static, TSchema } from 'typebox'
import { Type } from 'typebox'
import { ERROR_CODES, type ErrorCode } from '../../../errors.ts'

/** Pieces that several schemas share. `type: [T, 'null']` instead of unions, so that a refusal names one field once. */

export const nullable = {
  string: (options: object = {}) => Type.Unsafe<string | null>({ ...options, type: ['string', 'null'] }),
  boolean: (options: object = {}) => Type.Unsafe<boolean | null>({ ...options, type: ['boolean', 'null'] }),
  integer: (options: object = {}) => Type.Unsafe<number | null>({ ...options, type: ['integer', 'null'] }),
  number: (options: object = {}) => Type.Unsafe<number | null>({ ...options, type: ['number', 'null'] }),
  oneOf: <const T extends string>(values: readonly T[], options: object = {}) =>
    Type.Unsafe<T | null>({ ...options, type: ['string', 'null'], enum: [...values, null] })
}

export const oneOf = <const T extends string>(values: readonly T[], options: object = {}) =>
  Type.Unsafe<T>({ ...options, type: 'string', enum: [...values] })

/** An object that refuses fields it does not know. */
export const strict = <T extends Record<string, TSchema>>(properties: T, options: object = {}) =>
  Type.Object(properties, { ...options, additionalProperties: false })

/** A reference to a schema that has an `$id` and is registered with the server; OpenAPI shows it by that name. */
export const ref = <T extends TSchema>(schema: T) =>
  Type.Unsafe<Static<T>>({ $ref: `${(schema as unknown as { $id: string }).$id}#` })

export const listOf = <T extends TSchema>(schema: T) => Type.Array(ref(schema))

export const timestamp = (description: string) =>
  Type.String({ description: `${description}; ISO 8601 in UTC`, examples: ['2026-11-20T18:00:00.000Z'] })

export const EmptySchema = strict({})

/** What a 204 answers. */
export const NothingSchema = Type.Unsafe<undefined>({ type: 'null', description: 'no body' })

export const ErrorSchema = Type.Object(
  {
    error: Type.Object({
      code: oneOf(Object.keys(ERROR_CODES) as ErrorCode[], { description: 'stable, for programs' }),
      message: Type.String({ description: 'what happened; what to do' }),
      details: Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true })
    })
  },
  { $id: 'Error' }
)
