import type { AnyActorRef } from 'xstate'

/** A machine as data, for whoever draws it. */
export interface Chart {
  states: ChartState[]
  moves: ChartMove[]
}

export interface ChartState {
  /** Keys from the root, joined by dots; the root itself is not listed. */
  path: string
  /** The one its parent begins in. */
  initial: boolean
  final: boolean
  /** Its children are all active at once. */
  parallel: boolean
  /** The machine is in it now. */
  current: boolean
}

export interface ChartMove {
  /** Empty: from any state. */
  from: string
  /** Type of the event; `always`, or `after 1000 ms`. */
  event: string
  /** Null: something happens, the state stays. */
  to: string | null
}

interface Node {
  key: string
  path: string[]
  type: string
  states: Record<string, Node>
  on: Record<string, Move[]>
  always?: Move[]
  initial?: { target: Node[] | undefined } | undefined
}
interface Move {
  target: ReadonlyArray<Node> | undefined
  eventType: string
  delay?: number | string | undefined
}

/** The chart of the machine that this actor runs; null for other logic. */
export function chartOf(actor: AnyActorRef): Chart | null {
  const root = (actor as unknown as { logic: { root?: Node } }).logic.root
  if (root == null) return null
  const active = new Set(((actor.getSnapshot() as { _nodes?: Node[] })._nodes ?? []).map((node) => node.path.join('.')))
  const chart: Chart = { states: [], moves: [] }
  const visit = (node: Node, parent: Node | null): void => {
    const path = node.path.join('.')
    if (parent != null) {
      chart.states.push({
        path,
        initial: parent.type !== 'parallel' && (parent.initial?.target ?? []).some((one) => one.key === node.key),
        final: node.type === 'final',
        parallel: node.type === 'parallel',
        current: active.has(path)
      })
    }
    for (const [event, moves] of Object.entries(node.on)) {
      for (const move of moves) chart.moves.push(...movesOf(path, eventText(event), move))
    }
    for (const move of node.always ?? []) chart.moves.push(...movesOf(path, 'always', move))
    for (const child of Object.values(node.states)) visit(child, node)
  }
  visit(root, null)
  return chart
}

const movesOf = (from: string, event: string, { target }: Move): ChartMove[] =>
  target == null || target.length === 0
    ? [{ from, event, to: null }]
    : target.map((node) => ({ from, event, to: node.path.join('.') }))

/** `xstate.after.retry.netmgr.impaired` → `after retry`, `xstate.done.actor.0.netmgr.applying` → `done`. */
function eventText(event: string): string {
  const after = /^xstate\.after\.([^.]+)\./.exec(event)
  if (after != null) return /^\d+$/.test(after[1]!) ? `after ${after[1]} ms` : `after ${after[1]}`
  return /^xstate\.(done|error)\./.exec(event)?.[1] ?? event
}
