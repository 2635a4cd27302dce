import type AjvCompiler from '@fastify/ajv-compiler'
import type { FastifyRequest, FastifySchema } from 'fastify'
import { once } from '../../once.ts'

type Build = AjvCompiler.BuildCompilerFromPool
type Compile = ReturnType<Build>
type Validate = ReturnType<Compile>

/**
 * Compiles a schema when the first request comes that has to be judged by it, and loads the compiler then. Compiling all of them
 * took a third of a start and a tenth of its memory, and most agents are never asked for most of what they offer. What is plainly
 * good, as the id in a path mostly is, needs no compiler: the first answer after a start goes without it.
 */
export class Validators {
  #pool: Build | null = null
  readonly #plain = once(plainJudge)

  /** To be awaited before a request is judged. */
  async loadFor({ routeOptions: { schema }, params, query, body }: Judged): Promise<void> {
    if (this.#pool != null || schema == null) return
    const parts = [
      [schema.params, params],
      [schema.querystring, query],
      [schema.body, body]
    ] as const
    const isPlain =
      schema.headers === undefined &&
      parts.every(([rules, data]) => rules === undefined || this.#plainJudge(rules)(data))
    if (isPlain) return
    this.#pool = (await import('@fastify/ajv-compiler')).AjvCompiler()
  }

  /** Fastify's `buildValidator`. */
  readonly build: Build = (schemas) => {
    let compile: Compile | null = null
    return (route) => {
      const isPlainlyGood = this.#plainJudge((route as { schema?: unknown }).schema)
      let judge: Validate | null = null
      const validate = (data: unknown): boolean => {
        if (isPlainlyGood(data)) return true
        if (this.#pool == null) throw new Error('a request is judged before the compiler was loaded')
        judge ??= (compile ??= this.#pool(schemas, { customOptions }))(route)
        const good = judge(data) === true
        // Read at once by who called: nothing comes between.
        validate.errors = judge.errors
        return good
      }
      validate.errors = null as Validate['errors']
      return validate as Validate
    }
  }

  #plainJudge(schema: unknown): PlainJudge {
    return typeof schema !== 'object' || schema == null ? () => false : this.#plain(schema)
  }
}

/** Of a request what schemas are for. */
type Judged = Pick<FastifyRequest, 'params' | 'query' | 'body'> & { routeOptions: { schema?: FastifySchema } }

type PlainJudge = (data: unknown) => boolean

/** Says yes to what a schema of nothing but texts surely takes; all else is for the compiler to judge and to find words for. */
export function plainJudge(schema: object): PlainJudge {
  const { type, properties = {}, required = [], additionalProperties, ...more } = schema as PlainSchema
  const isPlain =
    type === 'object' &&
    additionalProperties === false &&
    Object.keys(more).every((keyword) => keyword === '$id' || keyword === 'description')
  if (!isPlain) return () => false
  /** How short each text may be, of those that have no other rule. */
  const leastOf = new Map<string, number>()
  for (const [name, { type: fieldType, minLength = 0, description: _, ...rules }] of Object.entries(properties)) {
    const isText = fieldType === 'string' && minLength <= 1 && Object.keys(rules).length === 0
    if (isText) leastOf.set(name, minLength)
  }
  return (data) => {
    if (typeof data !== 'object' || data == null || Array.isArray(data)) return false
    if (!required.every((name) => Object.hasOwn(data, name))) return false
    return Object.entries(data).every(([name, value]) => {
      const least = leastOf.get(name)
      return least != null && typeof value === 'string' && value.length >= least
    })
  }
}

interface PlainSchema {
  type?: unknown
  properties?: Record<string, { type?: unknown; minLength?: number; description?: string }>
  required?: readonly string[]
  additionalProperties?: unknown
}

/** A field that is unknown or has another type is a mistake to be told, so nothing is removed, coerced or filled in. */
const customOptions = {
  removeAdditional: false,
  coerceTypes: false,
  useDefaults: false,
  allErrors: false,
  verbose: true,
  allowUnionTypes: true,
  // They are ours: to compile what schemas are judged by costs a first request 50 ms.
  validateSchema: false
} as const
