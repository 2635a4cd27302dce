import { durationSeconds } from '../duration.ts'
import type { Flag, FlagValue } from './command.ts'

/** The value of a flag's text, or a sentence part saying what would be right. */
export function readValue(flag: Flag, text: string): { value: FlagValue } | { expected: string } {
  const { kind } = flag
  if (Array.isArray(kind)) {
    return kind.includes(text) ? { value: text } : { expected: `one of ${kind.join(', ')}` }
  }
  switch (kind) {
    case 'boolean':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { expected: 'true or false' }
    case 'integer':
      return /^[+-]?\d{1,15}$/.test(text) ? { value: Number(text) } : { expected: 'a whole number' }
    case 'number':
      return /^[+-]?\d+(\.\d+)?$/.test(text) ? { value: Number(text) } : { expected: 'a number' }
    case 'duration': {
      const seconds = durationSeconds(text)
      return seconds == null ? { expected: 'a duration such as 30s, 15m, 1h or 90d' } : { value: seconds }
    }
    default:
      return { value: text }
  }
}
