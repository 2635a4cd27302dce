import { COLUMNS, FIRST_SORT, SECTIONS, type Section } from './columns.ts'

/** What the person at the screen has chosen. */
export interface View {
  /** The table that has the room. */
  section: Section
  sort: Record<Section, { column: number; down: boolean }>
  /** Rows of that table that are above the screen. */
  offset: number
  /** Figures stand still. */
  paused: boolean
}

export const firstView: View = { section: 'services', sort: FIRST_SORT, offset: 0, paused: false }

/** The view with another sort; null when no table has a column of that title. */
export function sortedBy(view: View, title: string): View | null {
  for (const section of [view.section, ...SECTIONS]) {
    const column = COLUMNS[section].findIndex((one) => one.title.toLowerCase() === title.toLowerCase())
    if (column < 0) continue
    const down = COLUMNS[section][column]?.right === true
    return { ...view, section, offset: 0, sort: { ...view.sort, [section]: { column, down } } }
  }
  return null
}

/** What a key does; `rows` is how many fit, for paging. Any other key does nothing. */
export function onKey(view: View, key: string, rows: number): View | 'quit' {
  const { section, sort, offset } = view
  const move = (by: number): View => ({ ...view, offset: Math.max(0, offset + by) })
  const to = (next: Section | undefined): View => (next == null ? view : { ...view, section: next, offset: 0 })
  const turn = (by: number): View => {
    const columns = COLUMNS[section]
    const column = (sort[section].column + by + columns.length) % columns.length
    return { ...view, offset: 0, sort: { ...sort, [section]: { column, down: columns[column]?.right === true } } }
  }
  const index = SECTIONS.indexOf(section)
  switch (key) {
    case 'q':
    case 'Q':
    case '\u0003':
    case '\u0004':
      return 'quit'
    case '\t':
      return to(SECTIONS[(index + 1) % SECTIONS.length])
    case '\u001B[Z':
      return to(SECTIONS[(index + SECTIONS.length - 1) % SECTIONS.length])
    case '1':
    case '2':
    case '3':
    case '4':
      return to(SECTIONS[Number(key) - 1])
    case 's':
    case '>':
    case '\u001B[C':
      return turn(1)
    case '<':
    case '\u001B[D':
      return turn(-1)
    case 'r':
      return { ...view, sort: { ...sort, [section]: { ...sort[section], down: !sort[section].down } } }
    case 'p':
    case ' ':
      return { ...view, paused: !view.paused }
    case 'j':
    case '\u001B[B':
      return move(1)
    case 'k':
    case '\u001B[A':
      return move(-1)
    case '\u001B[6~':
      return move(rows)
    case '\u001B[5~':
      return move(-rows)
    case 'g':
    case '\u001B[H':
      return { ...view, offset: 0 }
    default:
      return view
  }
}

/** Single keys of what a terminal sent at once. */
export const keysOf = (input: string): string[] => input.match(/\p{Cc}\[[0-9;]*[A-Za-z~]|[^]/gu) ?? []
