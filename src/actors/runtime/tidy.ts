import type { AnyActorLogic, AnyActorScope, AnyStateMachine, EventObject } from 'xstate'

/**
 * Actor logic that lets go of what it holds when it throws. xstate leaves the children of a throwing machine running
 * (statelyai/xstate#5153) and never runs the disposer of a throwing callback (#5433): a tidy actor takes the stop
 * transition first, which does both, and then fails as it would have.
 */
export function tidy<TLogic extends AnyActorLogic>(bare: TLogic): TLogic {
  const logic = withTidyChildren(bare)
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

/** What a machine spawns by name is as tidy as itself: a child that throws takes the machine with it, and is gone first. */
function withTidyChildren<TLogic extends AnyActorLogic>(logic: TLogic): TLogic {
  const { implementations, provide } = logic as Partial<Pick<AnyStateMachine, 'implementations' | 'provide'>>
  const actors = Object.entries((implementations?.actors ?? {}) as Record<string, AnyActorLogic>)
  if (provide == null || actors.length === 0) return logic
  const tidied = Object.fromEntries(actors.map(([src, child]) => [src, tidy(child)]))
  return provide.call(logic, { actors: tidied } as never) as unknown as TLogic
}
