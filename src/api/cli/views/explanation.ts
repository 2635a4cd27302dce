import type { Explanation } from '../explain.ts'
import { table } from '../table.ts'

export function explanationText(explanation: Explanation, colours: boolean): string {
  const head = `${explanation.object}: ${explanation.description}\n\n`
  if ('codes' in explanation) {
    const rows = explanation.codes.map(({ code, http, exit }) => [code, String(http), String(exit)])
    return head + table(['CODE', 'HTTP', 'EXIT'], rows, colours)
  }
  const settable = explanation.fields.some(({ set }) => set.length > 0)
  return (
    head +
    table(
      ['FIELD', 'TYPE', ...(settable ? ['SET BY'] : []), 'MEANING'],
      explanation.fields.map(({ field, type, set, required, description }) => [
        field,
        type,
        ...(settable ? [set.length === 0 ? '(read-only)' : `${set.join(', ')}${required ? ' (required)' : ''}`] : []),
        description
      ]),
      colours
    )
  )
}
