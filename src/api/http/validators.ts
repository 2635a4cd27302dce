import type AjvCompiler from '@fastify/ajv-compiler'

type Build = AjvCompiler.BuildCompilerFromPool
type Compile = ReturnType<Build>
type Validate = ReturnType<Compile>

/**
 * Compiles a schema when the first request comes that it judges, and loads the compiler then. Compiling all of them took a
 * third of a start and a tenth of its memory, and most agents are never asked for most of what they offer.
 */
export class Validators {
  #pool: Build | null = null

  /** To be awaited before anything is judged. */
  async load(): Promise<void> {
    this.#pool ??= (await import('@fastify/ajv-compiler')).AjvCompiler()
  }

  /** Fastify's `buildValidator`. */
  readonly build: Build = (schemas) => {
    let compile: Compile | null = null
    return (route) => {
      let judge: Validate | null = null
      const validate = (data: unknown): boolean => {
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
