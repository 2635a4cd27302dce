import type { FlowJson } from '../../../actors/operator/flows.ts'
import { bytes, duration, milliseconds, orDash, shortPeer } from '../humane.ts'
import { type Cell, table, type TableOptions } from '../table.ts'

const COLUMNS = ['CLIENT', 'DESTINATION', 'STATE', 'IN', 'OUT', 'AGE', 'FIRST BYTE']
const WIDE_COLUMNS = ['SIDE', 'PEER', 'DIALLED FROM', 'CONNECT']

/** Open flows, in the order given; `open` is how many there were a moment ago. */
export function flowsText(flows: readonly FlowJson[], open: number, { wide, colours }: TableOptions): string {
  if (flows.length === 0) return 'no open flows\n'
  const rows = flows.map((flow): Cell[] => [
    flow.client,
    flow.destination,
    flow.state,
    bytes(flow.bytes_in),
    bytes(flow.bytes_out),
    duration(flow.age_ms / 1000),
    milliseconds(flow.first_byte_ms),
    ...(wide ? [flow.side, shortPeer(flow.peer_id), orDash(flow.dialled_from), milliseconds(flow.connect_ms)] : [])
  ])
  const text = table(wide ? [...COLUMNS, ...WIDE_COLUMNS] : COLUMNS, rows, colours)
  return flows.length < open ? `${text}${flows.length} of ${open}; see more with --limit\n` : text
}
