import type { AnyActorRef } from 'xstate'
import type { ActorJson } from '../operator/operator.ts'
import { stateText } from './state-text.ts'
import { childOf, childrenOf } from './supervisor.logic.ts'

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

/** The live actor of that address below (and with) `root`, supervisors aside; null when there is none. */
export function findActor(root: AnyActorRef, path: string): AnyActorRef | null {
  const waiting = [root]
  // Breadth first: a pool knows its children by address, so only routes make it look at every service.
  for (const actor of waiting) {
    const supervised = childrenOf(actor)
    if (supervised == null && actor.id === path) return actor
    const child = supervised == null ? null : childOf(actor, path)
    if (child != null) return child
    const spawned = (actor.getSnapshot()?.children ?? {}) as Record<string, AnyActorRef | undefined>
    for (const next of supervised ?? Object.values(spawned)) if (next != null) waiting.push(next)
  }
  return null
}
