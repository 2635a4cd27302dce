import {
  createActor,
  type ActorLogic,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyActorScope,
  type Snapshot
} from 'xstate'
import type { Clock, Timer } from '../../clock.ts'
import { kindOf } from './address.ts'
import { recorded } from './recorded.ts'
import { decideRestart, restartPolicy, type RestartPolicy } from './restarts.ts'
import { tidy } from './tidy.ts'

type SupervisorEvent =
  /** Starts a child; its logic is the one registered for the kind in its id. A live child of that id is stopped first. */
  | { type: 'child.start'; id: string; input?: unknown }
  | { type: 'child.stop'; id: string }
  /** From the supervisor to itself, when a backoff is over. */
  | { type: 'child.restart'; id: string }

type SupervisorEmitted =
  | { type: 'child.started'; id: string }
  | { type: 'child.restarted'; id: string }
  | { type: 'child.finished'; id: string }
  | { type: 'child.failed'; id: string; error: unknown; restartInMs: number }
  | { type: 'child.gaveUp'; id: string; error: unknown }

/** A child that throws is started again after a while: these are the ones that wait, and what they had been given. */
interface Entry {
  input: unknown
  ref: AnyActorRef | null
  failures: number[]
  timer: Timer | null
}

type SupervisorSnapshot = Snapshot<undefined> & { children: Map<string, Entry> }
export type SupervisorLogic = ActorLogic<
  SupervisorSnapshot,
  SupervisorEvent,
  undefined,
  AnyActorScope['system'],
  SupervisorEmitted
>

export interface SupervisorOptions {
  clock: Clock
  /** Logic by the kind of a child's id. */
  logics: Record<string, AnyActorLogic>
  policy?: Partial<RestartPolicy>
}

type SystemEvent = { type: string; actorId?: string; error?: unknown }

/**
 * One-for-one supervision, as in Erlang: a child that fails is started again with the input it had, after an exponential
 * backoff; one that fails too often is given up (see {@link RestartPolicy}). Children live in a Map, so adding and
 * removing one costs the same with 10 or 100,000 others, which an xstate machine that spawns cannot say.
 */
export function fromSupervisor({ clock, logics, policy: given }: SupervisorOptions): SupervisorLogic {
  const policy = { ...restartPolicy, ...given }
  const tidied = new Map(Object.entries(logics).map(([kind, logic]) => [kind, recorded(tidy(logic))]))

  const launch = (id: string, entry: Entry, scope: AnyActorScope, again: boolean): void => {
    const logic = tidied.get(kindOf(id))
    if (logic == null) throw new Error(`supervisor ${scope.id} has no logic for the kind of "${id}"`)
    const ref = createActor(logic, { id, parent: scope.self, input: entry.input } as never)
    entry.ref = ref
    scope.defer(() => {
      ref.start()
      scope.emit({ type: again ? 'child.restarted' : 'child.started', id })
    })
  }
  const release = (entry: Entry, scope: AnyActorScope): void => {
    entry.timer?.cancel()
    entry.timer = null
    if (entry.ref != null) scope.stopChild(entry.ref)
    entry.ref = null
  }
  const failed = (id: string, entry: Entry, error: unknown, scope: AnyActorScope): boolean => {
    entry.ref = null
    const decision = decideRestart(entry.failures, clock.monotonic(), policy)
    entry.failures = decision.failures
    if (decision.delayMs == null) {
      scope.emit({ type: 'child.gaveUp', id, error })
      return false
    }
    entry.timer = clock.after(decision.delayMs, () => scope.self.send({ type: 'child.restart', id }))
    scope.emit({ type: 'child.failed', id, error, restartInMs: decision.delayMs })
    return true
  }

  return {
    getInitialSnapshot: () => ({ status: 'active', output: undefined, error: undefined, children: new Map() }),
    // Children are rebuilt from the replicated state; a persisted snapshot would hold what that state no longer wants.
    getPersistedSnapshot: ({ children: _live, ...rest }) => rest as Snapshot<undefined>,
    transition(snapshot, event, scope) {
      const { children } = snapshot
      const { type, actorId, error } = event as SystemEvent
      if (type === 'xstate.stop') {
        for (const entry of children.values()) release(entry, scope)
        children.clear()
        return { ...snapshot, status: 'stopped', output: undefined, error: undefined }
      }
      const entry = children.get(actorId ?? (event as { id?: string }).id ?? '')
      if (event.type === 'child.start') {
        if (entry != null) release(entry, scope)
        const fresh: Entry = { input: event.input, ref: null, failures: [], timer: null }
        children.set(event.id, fresh)
        launch(event.id, fresh, scope, false)
      } else if (entry == null) {
        return snapshot
      } else if (event.type === 'child.stop') {
        children.delete(event.id)
        release(entry, scope)
      } else if (event.type === 'child.restart') {
        if (entry.ref != null) return snapshot
        entry.timer = null
        launch(event.id, entry, scope, true)
      } else if (entry.ref?.getSnapshot().status === 'active') {
        // The last word of a child that has been replaced meanwhile.
        return snapshot
      } else if (type.startsWith('xstate.done.actor.')) {
        children.delete(actorId!)
        scope.emit({ type: 'child.finished', id: actorId! })
      } else if (type.startsWith('xstate.error.actor.') && !failed(actorId!, entry, error, scope)) {
        if (policy.onGiveUp === 'quarantine') return snapshot
        for (const other of children.values()) release(other, scope)
        const reason = new Error(`${actorId} failed more than ${policy.intensity} times`, { cause: error })
        return { ...snapshot, status: 'error', output: undefined, error: reason }
      }
      return snapshot
    }
  }
}

/** The live child of a supervisor, or null: not known, waiting for its restart, or given up. */
export const childOf = (supervisor: AnyActorRef, id: string): AnyActorRef | null =>
  entriesOf(supervisor)?.get(id)?.ref ?? null

/** The live children of a supervisor by id; null when the actor is no supervisor. */
export function childrenOf(supervisor: AnyActorRef): AnyActorRef[] | null {
  const entries = entriesOf(supervisor)
  return entries == null ? null : [...entries.values()].flatMap((entry) => entry.ref ?? [])
}

function entriesOf(actor: AnyActorRef): Map<string, Entry> | null {
  const children: unknown = actor.getSnapshot()?.children
  return children instanceof Map ? children : null
}
