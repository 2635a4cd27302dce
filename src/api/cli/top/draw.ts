import type { Size } from './screen.ts'

const ESC = '\u001B['
/** A terminal that knows it shows what stands between the two at once; others pass over it. */
const [BEGIN, END] = [`${ESC}?2026h`, `${ESC}?2026l`]

/** The alternate screen without a cursor, and back to what was there before. */
export const enterScreen = `${ESC}?1049h${ESC}?25l`
export const leaveScreen = `${ESC}?25h${ESC}?1049l`

/**
 * What to write so that `previous` becomes `next`: only the lines that differ, each written over and never erased first,
 * so nothing flickers. With `previous` null (the first time, or another size) the screen is cleared.
 */
export function difference(previous: readonly string[] | null, next: readonly string[], { rows }: Size): string {
  const parts: string[] = []
  if (previous == null) parts.push(`${ESC}2J`)
  for (let i = 0; i < Math.min(rows, Math.max(previous?.length ?? 0, next.length)); i++) {
    const line = next[i] ?? ''
    if (previous != null && line === (previous[i] ?? '')) continue
    parts.push(`${ESC}${i + 1};1H${line}${ESC}K`)
  }
  return parts.length === 0 ? '' : `${BEGIN}${parts.join('')}${END}`
}
