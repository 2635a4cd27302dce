import { isDay } from '../../calendar.ts'
import { isChangeName } from '../../crdt/find-change.ts'
import type { Moment } from '../../crdt/past.ts'
import { InvalidRequestError } from '../../errors.ts'

/** ISO 8601; a time of day needs its zone, since asker and agent may be in different ones. Wall-clock ms. */
export function readTime(field: string, text: string, otherwise = ''): number {
  const isTime = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)
  const ms = isTime && isDay(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(ms)) return ms
  throw new InvalidRequestError(
    `${field} "${text.slice(0, 70)}" is not a time in ISO 8601; write 2026-01-31 or 2026-01-31T12:00:00Z${otherwise}`,
    { field }
  )
}

/** A time, or a change by its hash or a start of it. */
export function readMoment(text: string): Moment {
  if (isChangeName(text)) return { change: text }
  return { time: readTime('at', text, ', or the hash of a change as "arctic cluster history" shows it') }
}
