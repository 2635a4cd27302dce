import { noteFieldsMax, noteTextMax } from './limits.ts'

/**
 * What the history keeps of an event that somebody sent to an actor by hand. It is the message of a change that changes
 * nothing, so every version holds it, signed and replicated like all that is written.
 */
export interface ActorNote {
  /** Address of the actor, which lives at the change's author. */
  actor: string
  event: { type: string } & Record<string, unknown>
  /** Who asked, as the author knows it. */
  by: string
}

export const encodeNote = ({ actor, event, by }: ActorNote): string =>
  JSON.stringify({
    sent: {
      actor: actor.slice(0, noteTextMax),
      event: Object.fromEntries(
        Object.entries(event)
          .slice(0, noteFieldsMax)
          .map(([field, value]) => [field, typeof value === 'string' ? value.slice(0, noteTextMax) : value])
      ),
      by: by.slice(0, noteTextMax)
    }
  })

/** Null for anything that is no note; a member may have written whatever it likes. */
export function parseNote(message: string | null): ActorNote | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(message ?? '')
  } catch {
    return null
  }
  const { actor, event, by } = fieldsOf(fieldsOf(parsed)['sent'])
  const { type, ...fields } = fieldsOf(event)
  if (![actor, by, type].every((text) => typeof text === 'string' && text.length <= noteTextMax)) return null
  const scalars = Object.entries(fields).filter(
    ([, value]) =>
      typeof value === 'number' ||
      typeof value === 'boolean' ||
      (typeof value === 'string' && value.length <= noteTextMax)
  )
  const kept = Object.fromEntries(scalars.slice(0, noteFieldsMax))
  return { actor: String(actor), event: { type: String(type), ...kept }, by: String(by) }
}

const fieldsOf = (value: unknown): Record<string, unknown> =>
  value != null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
