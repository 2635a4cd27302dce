import { didYouMean } from '../did-you-mean.ts'
import { durationSeconds } from '../duration.ts'
import type { Flag, FlagValue } from './command.ts'
import { idOf } from './names.ts'

/** The value of a flag's text, or a sentence part saying what would be right. */
export function readValue(flag: Flag, text: string): { value: FlagValue } | { expected: string } {
  const { kind } = flag
  if (Array.isArray(kind)) {
    return kind.includes(text) ? { value: text } : { expected: oneOf(kind, text) }
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
      // What `-o name` printed names a thing here too.
      return { value: flag.live == null ? text : idOf(text) }
  }
}

/** `one of a, b; did you mean "a"?` */
export function oneOf(known: readonly string[], text: string): string {
  const near = didYouMean(text, known)
  return `one of ${known.join(', ')}${near == null ? '' : `; did you mean "${near}"?`}`
}
