import type { AnyActorRef } from 'xstate'
import { ConflictError, InvalidRequestError } from '../../errors.ts'

export type FieldKind = 'string' | 'number' | 'boolean'

/**
 * In a machine's `meta`: the events that may be sent to it by hand, with their fields. What is not listed (a whole
 * desired state, say) only the agent's own parts can send.
 */
export interface TakesMeta {
  takes: Readonly<Record<string, Readonly<Record<string, FieldKind>>>>
}

/** One event that may be sent by hand. */
export interface Taken {
  type: string
  fields: Readonly<Record<string, FieldKind>>
  /** It would be heard in the present state. */
  now: boolean
}

interface MachineLike {
  config?: { meta?: Partial<TakesMeta> }
}
interface SnapshotLike {
  _nodes?: ReadonlyArray<{ ownEvents: readonly string[] }>
}

/** What can be sent by hand to this actor; empty for logic that is no machine. */
export function takenBy(actor: AnyActorRef): Taken[] {
  const takes = (actor as unknown as { logic: MachineLike }).logic.config?.meta?.takes ?? {}
  const heard = new Set((actor.getSnapshot() as SnapshotLike)._nodes?.flatMap((node) => node.ownEvents))
  return Object.entries(takes).map(([type, fields]) => ({ type, fields, now: heard.has(type) }))
}

/** Throws unless the actor takes this event, with these fields, in its present state. */
export function checkTaken(actor: AnyActorRef, event: Readonly<Record<string, unknown>> & { type: string }): void {
  const taken = takenBy(actor)
  const details = { actor: actor.id, event: event.type, takes: taken.map(({ type }) => type) }
  const known = taken.find(({ type }) => type === event.type)
  const list = taken.length === 0 ? 'it takes none by hand' : `it takes ${details.takes.join(', ')}`
  if (known == null) throw new InvalidRequestError(`${actor.id} takes no event "${event.type}"; ${list}`, details)
  const { fields } = known
  for (const [field, kind] of Object.entries(fields)) {
    if (typeof event[field] === kind) continue
    const what = event[field] === undefined ? 'is missing' : `is no ${kind}`
    const example = JSON.stringify({ type: event.type, ...fields })
    throw new InvalidRequestError(`the field "${field}" of ${event.type} ${what}; send ${example}`, details)
  }
  const extra = Object.keys(event).find((field) => field !== 'type' && !Object.hasOwn(fields, field))
  if (extra != null) {
    const names = Object.keys(fields)
    const has = names.length === 0 ? 'has no fields' : `has only ${names.join(', ')}`
    throw new InvalidRequestError(`${event.type} has no field "${extra}"; it ${has}`, details)
  }
  if (known.now) return
  const now = taken.flatMap(({ type, now }) => (now ? [type] : []))
  throw new ConflictError(
    409,
    `${actor.id} does not listen to "${event.type}" in its present state; now it takes ${now.join(', ') || 'nothing'}`,
    { ...details, now }
  )
}
