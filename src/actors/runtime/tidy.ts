import type { AnyActorLogic, AnyActorScope, EventObject } from 'xstate'

/**
 * Actor logic that lets go of what it holds when it throws. xstate leaves the children of a throwing machine running
 * (statelyai/xstate#5153) and never runs the disposer of a throwing callback (#5433): a tidy actor takes the stop
 * transition first, which does both, and then fails as it would have.
 */
export function tidy<TLogic extends AnyActorLogic>(logic: TLogic): TLogic {
  const release = (scope: AnyActorScope): void => {
    const live = scope.self.getSnapshot()
    if (live?.status !== 'active') return
    // Deferred work is dropped by xstate once an actor has failed, so it is done on the spot.
    logic.transition(live, { type: 'xstate.stop' }, { ...scope, defer: (fn: () => void) => fn() })
  }
  const releasing =
    (scope: AnyActorScope, run: (...args: never[]) => unknown) =>
    (...args: never[]): unknown => {
      try {
        return run(...args)
      } catch (error) {
        release(scope)
        throw error
      }
    }
  return Object.create(logic, {
    transition: {
      value(snapshot: unknown, event: EventObject, scope: AnyActorScope): unknown {
        try {
          return logic.transition(snapshot, event, scope)
        } catch (error) {
          if (event.type !== 'xstate.stop') release(scope)
          throw error
        }
      }
    },
    // Initial actions run after this returns, outside of any transition: each of them is guarded by itself.
    getInitialSnapshot: {
      value(scope: AnyActorScope, input: unknown): unknown {
        const guarded: AnyActorScope = {
          ...scope,
          defer: (fn) => scope.defer(() => releasing(scope, fn)()),
          actionExecutor: (action) =>
            scope.actionExecutor(
              action.exec == null ? action : { ...action, exec: releasing(scope, action.exec as never) as never }
            )
        }
        return logic.getInitialSnapshot(guarded, input)
      }
    }
  }) as TLogic
}
