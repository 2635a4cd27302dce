import type { AnyActorLogic, AnyActorScope, EventObject } from 'xstate'
import type { ActorStatus, FlightRecorder } from './recorder.ts'
import { stateText } from './state-text.ts'

interface Seen {
  status: ActorStatus
  value?: unknown
}

/** One recorder per actor system, so that logic needs no argument for it and a system without one pays nothing. */
const recorders = new WeakMap<object, FlightRecorder>()

export function attachRecorder(system: object, recorder: FlightRecorder): void {
  recorders.set(system, recorder)
}

/** Actor logic whose steps the recorder of its system keeps, the fatal one included. */
export function recorded<TLogic extends AnyActorLogic>(logic: TLogic): TLogic {
  return Object.create(logic, {
    transition: {
      value(before: Seen, event: EventObject, scope: AnyActorScope): unknown {
        const recorder = recorders.get(scope.system)
        if (recorder == null) return logic.transition(before, event, scope)
        const path = scope.self.id
        const from = textOf(before)
        try {
          const after: Seen = logic.transition(before, event, scope)
          // xstate gives back the same snapshot when nothing has heard the event.
          if (after !== before) {
            const { status } = after
            recorder.record({ path, event: nameOf(event), reason: reasonOf(event), from, to: textOf(after), status })
          }
          return after
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error)
          recorder.record({ path, event: nameOf(event), reason, from, to: from, status: 'error' })
          throw error
        }
      }
    },
    getInitialSnapshot: {
      value(scope: AnyActorScope, input: unknown): unknown {
        const first: Seen = logic.getInitialSnapshot(scope, input)
        recorders.get(scope.system)?.record({
          path: scope.self.id,
          event: 'start',
          reason: null,
          from: null,
          to: textOf(first),
          status: first.status
        })
        return first
      }
    }
  }) as TLogic
}

const textOf = ({ value }: Seen): string | null => (value == null ? null : stateText(value))

const nameOf = ({ type }: EventObject): string => (type === 'xstate.stop' ? 'stop' : type)

function reasonOf(event: EventObject): string | null {
  const { reason } = event as { reason?: unknown }
  return typeof reason === 'string' ? reason : null
}
