import { bytes, duration, shortPeer } from '../humane.ts'
import { type Cell, paint, visible } from '../table.ts'
import { COLUMNS, rowsOf, SECTIONS, type Column, type Section } from './columns.ts'
import type { Model } from './rates.ts'
import type { View } from './view.ts'
import { cut, padded, widthOf } from './width.ts'

export interface Size {
  columns: number
  rows: number
}

/** Rows that a table without the focus gets, its heading included, and how many it takes to show more than one table. */
const SIDE_ROWS = 4
const ALL_TABLES_ROWS = 24

const KEYS = 'q quit  Tab next table  s sort  r reverse  ↑↓ scroll  p pause'

/**
 * The whole screen as lines, each at most `columns` wide and at most `rows` of them: a function of what is known, what
 * was chosen and how much room there is, and of nothing else. `now`: wall-clock ms. `trouble`: why nothing new comes.
 */
export function screenOf(
  model: Model,
  view: View,
  size: Size,
  { now, colours, trouble = null }: { now: number; colours: boolean; trouble?: string | null }
): string[] {
  const { columns, rows } = size
  if (rows < 1 || columns < 1) return []
  const lines = [cut(titleOf(model, view), columns)]
  const foot = trouble == null ? KEYS : `error: ${visible(trouble)}`
  const room = rows - 2
  const tables = rowsOf(model)
  const shown = room >= ALL_TABLES_ROWS ? SECTIONS : [view.section]
  let left = room
  const heights = new Map<Section, number>()
  for (const section of shown) {
    if (section === view.section) continue
    const height = Math.min(SIDE_ROWS, tables[section].length + 1)
    heights.set(section, height)
    left -= height
  }
  heights.set(view.section, left)
  for (const section of shown) {
    const height = heights.get(section) ?? 0
    const isFocus = section === view.section
    const rowsHere = tables[section] as ReadonlyArray<never>
    const table = tableOf(COLUMNS[section] as ReadonlyArray<Column<never>>, rowsHere, {
      sort: view.sort[section],
      offset: isFocus ? view.offset : 0,
      height,
      columns,
      now,
      colours,
      isFocus
    })
    while (table.length < height) table.push('')
    lines.push(...table.slice(0, Math.max(0, height)))
  }
  if (rows > 1) lines.push(paintIf(colours, cut(foot, columns), trouble == null ? 'dim' : 'red'))
  return lines.slice(0, rows)
}

/** How many rows of the focused table fit, for paging. */
export const rowsShown = ({ rows }: Size): number => Math.max(1, rows - 3)

function titleOf(model: Model, { paused }: View): string {
  const sum = (side: 'rate_in' | 'rate_out'): number =>
    model.services.reduce((total, row) => total + (row[side] ?? 0), 0)
  const flows = model.services.reduce((total, row) => total + row.flows, 0)
  const more = model.services_left_out === 0 ? '' : ` (${model.services_left_out} not shown)`
  return [
    `arctic top  ${visible(model.peer_name ?? shortPeer(model.peer_id))}`,
    `up ${duration(model.uptime_seconds)}`,
    `${model.services.length + model.services_left_out} services${more}`,
    `${flows} flows`,
    `in ${bytes(sum('rate_in'))}/s out ${bytes(sum('rate_out'))}/s`,
    `${model.tunnels.length} tunnels`,
    `${model.actors.total} actors${statesOf(model)}`,
    ...(paused ? ['PAUSED'] : [])
  ].join('  ')
}

/** What is not as it should be among the actors: those that somebody may want to look at. */
function statesOf({ actors }: Model): string {
  const troubled = actors.kinds.filter(
    ({ state }) => state != null && /degraded|failed|impaired|unreachable/.test(state)
  )
  const count = troubled.reduce((total, one) => total + one.count, 0)
  return count === 0 ? '' : `, ${count} in trouble`
}

function tableOf<Row>(
  columns: ReadonlyArray<Column<Row>>,
  rows: readonly Row[],
  options: {
    sort: { column: number; down: boolean }
    offset: number
    height: number
    columns: number
    now: number
    colours: boolean
    isFocus: boolean
  }
): string[] {
  const { sort, height, now, colours, isFocus } = options
  const room = Math.max(0, height - 1)
  const sorted = sortRows(rows, columns[sort.column], sort.down)
  // The last page is never empty, however far somebody has scrolled.
  const offset = Math.max(0, Math.min(options.offset, sorted.length - room))
  const shown = sorted.slice(offset, offset + room).map((row) => columns.map((column) => column.text(row, now)))
  const heads = columns.map(({ title }, i) => (i === sort.column ? `${title}${sort.down ? '▼' : '▲'}` : title))
  const widths = columns.map((_, i) =>
    Math.max(widthOf(heads[i] ?? ''), ...shown.map((cells) => widthOf(visible(textOf(cells[i] ?? '')))))
  )
  const line = (cells: readonly Cell[]): string => {
    let used = 0
    const parts: string[] = []
    for (const [i, cell] of cells.entries()) {
      const space = i === 0 ? 0 : 2
      const free = options.columns - used - space
      if (free <= 0) break
      const plain = cut(padded(visible(textOf(cell)), widths[i] ?? 0, columns[i]?.right === true), free)
      used += space + widthOf(plain)
      parts.push(`${' '.repeat(space)}${typeof cell === 'object' ? paintIf(colours, plain, cell.colour) : plain}`)
    }
    return parts.join('').trimEnd()
  }
  const head = line(heads)
  return [
    colours ? `\u001B[${isFocus ? 7 : 1}m${padded(head, options.columns, false)}\u001B[0m` : head,
    ...shown.map(line)
  ]
}

/** Equal ones stay in the order in which the agent told them, so that nothing jumps. */
function sortRows<Row>(rows: readonly Row[], column: Column<Row> | undefined, down: boolean): Row[] {
  if (column == null) return [...rows]
  const order = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0)
  return rows.toSorted((a, b) => (down ? -1 : 1) * order(column.value(a), column.value(b)))
}

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text)

const paintIf = (colours: boolean, text: string, colour: Parameters<typeof paint>[1]): string =>
  colours && text !== '' ? paint(text, colour) : text
