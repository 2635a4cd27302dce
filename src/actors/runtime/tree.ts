import type { AnyActorRef } from 'xstate'
import type { ActorJson } from '../operator/operator.ts'
import { childrenOf } from './supervisor.logic.ts'

/**
 * The live actors below (and with) `actor`. A supervisor is not a thing that an operator asked for: its children stand
 * in its place. Children come in the order of their ids, so that two looks can be compared.
 */
export function treeOf(actor: AnyActorRef): ActorJson {
  const snapshot = actor.getSnapshot()
  return {
    path: actor.id,
    state: snapshot?.value == null ? null : stateText(snapshot.value),
    status: snapshot?.status ?? 'stopped',
    children: below(actor).sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  }
}

function below(actor: AnyActorRef): ActorJson[] {
  const supervised = childrenOf(actor)
  if (supervised != null) return supervised.map(treeOf)
  const spawned = Object.values((actor.getSnapshot()?.children ?? {}) as Record<string, AnyActorRef | undefined>)
  return spawned.flatMap((child) => (child == null ? [] : childrenOf(child) == null ? [treeOf(child)] : below(child)))
}

/** A machine's state value as text: `active`, `open.draining`, parallel regions joined by a comma. */
function stateText(value: unknown): string {
  if (typeof value === 'string') return value
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) =>
      typeof inner === 'object' && inner != null && Object.keys(inner).length === 0 ? key : `${key}.${stateText(inner)}`
    )
    .join(', ')
}
