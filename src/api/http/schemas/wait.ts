import { Type } from 'typebox'
import { waitDefaultSeconds, waitSecondsMax } from '../limits.ts'
import { listOf, nullable, ref, strict } from './common.ts'

/** Of every request that changes services, routes or peers. Query values are text. */
export const waitParameter = {
  wait: Type.Optional(
    Type.String({
      minLength: 1,
      examples: ['10s'],
      description:
        'answer once every reachable peer concerned has it in force, or after this long with the stragglers named; the ' +
        `change stays made either way. A duration up to ${waitSecondsMax}s, or true for ${waitDefaultSeconds}s`
    })
  )
}

export const WaitQuerySchema = strict(waitParameter)

const StragglerSchema = Type.Object(
  {
    peer: Type.String(),
    name: Type.String(),
    service_id: nullable.string({ description: 'null where no service is concerned' }),
    reason: Type.String({ description: 'CamelCase, as in conditions' }),
    message: Type.String()
  },
  { $id: 'Straggler' }
)

export const WaitSchema = Type.Object(
  {
    done: Type.Boolean({ description: 'every reachable peer concerned has it in force' }),
    waited_ms: Type.Integer(),
    stragglers: listOf(StragglerSchema),
    more: Type.Integer({ description: 'stragglers beyond those that are named' }),
    unreachable: Type.Array(Type.Object({ peer: Type.String(), name: Type.String() }), {
      description: 'not waited for; they take it over when they are back'
    })
  },
  { $id: 'Wait' }
)

/** Of the object that a write with `?wait=` answers, and of no other. */
export const waitedField = { wait: Type.Optional(ref(WaitSchema)) }

export const waitComponents = [StragglerSchema, WaitSchema]
