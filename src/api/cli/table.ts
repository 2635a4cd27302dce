export type Colour = 'red' | 'green' | 'yellow' | 'dim'

/** A cell's text, or text with the colour it gets where colours are wanted. */
export type Cell = string | { text: string; colour: Colour }

/** How a list is to look; a printer is one. */
export interface TableOptions {
  readonly wide: boolean
  readonly colours: boolean
}

const CODES: Record<Colour, number> = { red: 31, green: 32, yellow: 33, dim: 2 }

/** Columns aligned to the left, two blanks apart. Control characters, which a remote name may hold, are made visible. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly Cell[]>, colours: boolean): string {
  return aligned([head, ...rows], colours)
}

/** `key: value` lines. */
export function record(rows: ReadonlyArray<readonly [key: string, value: Cell]>, colours: boolean): string {
  return aligned(
    rows.map(([key, value]) => [`${key}:`, value]),
    colours
  )
}

function aligned(rows: ReadonlyArray<readonly Cell[]>, colours: boolean): string {
  const shown = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? visible(cell) : visible(cell.text))))
  const widths: number[] = []
  for (const row of shown) {
    for (const [column, text] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, length(text))
  }
  return shown
    .map((row, index) =>
      row
        .map((text, column) => {
          const padding = column === row.length - 1 ? '' : ' '.repeat((widths[column] ?? 0) - length(text) + 2)
          const cell = rows[index]?.[column]
          return `${typeof cell === 'object' && colours ? paint(text, cell.colour) : text}${padding}`
        })
        .join('')
        .trimEnd()
    )
    .map((line) => `${line}\n`)
    .join('')
}

/** Coloured for a terminal. */
export const paint = (text: string, colour: Colour): string => `\u001B[${CODES[colour]}m${text}\u001B[0m`

const length = (text: string): number => Array.from(text).length

/** Control characters as text. */
export const visible = (text: string): string =>
  text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
