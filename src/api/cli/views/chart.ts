import type { Chart, ChartState } from '../../../actors/operator/actor-json.ts'
import { type Cell, table, visible } from '../table.ts'

/**
 * A machine as an indented list of its states, each with where it goes:
 *
 * ```
 * any    service.withdrawn → deleting
 * ● active                  ← the machine is here
 *          service.impaired → degraded
 * ```
 */
export function chartText({ states, moves }: Chart, colours: boolean): string {
  const rows: Cell[][] = []
  const movesFrom = (path: string, lead: string): void => {
    for (const { event, to } of moves.filter(({ from }) => from === path)) {
      rows.push([`${lead}    ${event}`, to == null ? '(stays)' : `→ ${to}`])
    }
  }
  if (moves.some(({ from }) => from === '')) rows.push(['any state', ''])
  movesFrom('', '')
  for (const state of states) {
    const lead = '  '.repeat(state.path.split('.').length - 1)
    const marks = [state.initial ? 'initial' : '', state.final ? 'final' : '', state.parallel ? 'parallel' : '']
    const text = `${lead}${state.current ? '●' : '○'} ${nameOf(state)}`
    rows.push([state.current ? { text, colour: 'green' } : text, marks.filter((mark) => mark !== '').join(' ')])
    movesFrom(state.path, lead)
  }
  return table(['STATE', ''], rows, colours)
}

/** The same for mermaid (`stateDiagram-v2`), with the present states in a class `current`. */
export function chartMermaid(title: string, chart: Chart): string {
  const { states, moves } = chart
  const parallel = states.length > 0 && topLevel(states).every(({ initial }) => !initial)
  const lines = ['---', `title: ${title}`, '---', 'stateDiagram-v2']
  const block = (level: ChartState[], indent: string): void => {
    for (const state of level) {
      const children = childrenOf(states, state.path)
      const id = idOf(state.path)
      if (children.length > 0) {
        lines.push(`${indent}state "${nameOf(state)}" as ${id} {`)
        block(children, `${indent}  `)
        lines.push(`${indent}}`)
      } else {
        lines.push(`${indent}state "${nameOf(state)}" as ${id}`)
      }
      if (state.initial) lines.push(`${indent}[*] --> ${id}`)
      if (state.final) lines.push(`${indent}${id} --> [*]`)
    }
  }
  block(topLevel(states), '  ')
  for (const { from, event, to } of moves) {
    // Mermaid has no "from any state": such a move leaves each outermost state.
    const sources = from !== '' ? [from] : parallel ? [] : topLevel(states).flatMap((s) => (s.final ? [] : [s.path]))
    if (to == null) continue
    for (const source of sources) lines.push(`  ${idOf(source)} --> ${idOf(to)} : ${event}`)
  }
  const current = states.filter((state) => state.current && childrenOf(states, state.path).length === 0)
  lines.push('  classDef current fill:#2e7d32,color:#fff')
  if (current.length > 0) lines.push(`  class ${current.map(({ path }) => idOf(path)).join(',')} current`)
  return lines.map((line) => `${visible(line)}\n`).join('')
}

const nameOf = ({ path }: ChartState): string => path.slice(path.lastIndexOf('.') + 1)

const topLevel = (states: ChartState[]): ChartState[] => states.filter(({ path }) => !path.includes('.'))

const childrenOf = (states: ChartState[], parent: string): ChartState[] =>
  states.filter(({ path }) => path.startsWith(`${parent}.`) && !path.slice(parent.length + 1).includes('.'))

/** Dots mean something to mermaid, and `end` is a word of its own. */
const idOf = (path: string): string => `s_${path.replaceAll(/[^A-Za-z0-9]/g, '_')}`
