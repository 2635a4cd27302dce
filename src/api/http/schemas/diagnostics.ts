import { Type } from 'typebox'
import { TransitionSchema } from './actor.ts'
import { ref, timestamp } from './common.ts'

const TraceSchema = Type.Object({ command: Type.String(), output: Type.String() }, { $id: 'KernelTrace' })

export const DiagnosticsSchema = Type.Object(
  {
    at: timestamp('when it was so'),
    versions: Type.Unsafe<Record<string, string>>({ type: 'object', additionalProperties: { type: 'string' } }),
    config: Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true }),
    log: Type.Array(Type.String(), { description: 'last lines, oldest first' }),
    traces: Type.Array(ref(TraceSchema), { description: "what of ours is in the host's kernel" }),
    flight: Type.Array(ref(TransitionSchema), { description: 'the last steps of each actor, oldest first' })
  },
  { $id: 'Diagnostics' }
)

export const diagnosticsComponents = [TraceSchema, DiagnosticsSchema]
