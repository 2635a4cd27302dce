import { isDay } from '../../calendar.ts'
import { durationSeconds } from '../duration.ts'
import type { Flag, Input } from './command.ts'
import { usageFailure } from './failure.ts'

/** Of every question that the past can be asked. */
export const atFlag: Flag = {
  name: 'at',
  kind: 'text',
  placeholder: 'T|CHANGE',
  live: 'change',
  help: 'as of a time (2026-01-31T12:00), so long ago (30m, 7d), or just after a change'
}

/** The query of `--at`; `help` is the command. InvalidRequest for what is no moment, and beside `--watch`. */
export function momentOf(flags: Input['flags'], now: number, help: string): { at?: string } {
  const { at, watch } = flags
  if (at == null) return {}
  if (watch === true) throw usageFailure('the past does not change; give --at or --watch, not both', help)
  const text = String(at)
  // A change's hash has no dash; which ones there are, the agent knows.
  if (/^[0-9a-f]+$/i.test(text) && durationSeconds(text) == null) return { at: text }
  return { at: timeOf('at', text, now, help) }
}

/** ISO 8601 in UTC of a time, or of a duration before `now`; a time without a zone is one of this host. */
export function timeOf(flag: string, text: string, now: number, help: string): string {
  const seconds = durationSeconds(text)
  if (seconds != null) return new Date(now - seconds * 1000).toISOString()
  const isTime = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)
  // A date alone would be midnight in UTC, and the operator means his own.
  const ms =
    isTime && isDay(text) ? Date.parse(/^[\d-]+$/.test(text) ? `${text}T00:00` : text.replace(' ', 'T')) : Number.NaN
  if (Number.isNaN(ms)) {
    const change = flag === 'at' ? ', nor a change' : ''
    throw usageFailure(
      `--${flag} "${text}" is neither a time such as 2026-01-31T12:00 nor a duration such as 1h${change}`,
      help
    )
  }
  return new Date(ms).toISOString()
}
