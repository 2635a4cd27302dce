import { age, bytes, duration, orDash, shortPeer, state } from '../humane.ts'
import type { Cell } from '../table.ts'
import type { Model } from './rates.ts'

/** A column of one of the screen's tables. */
export interface Column<Row> {
  title: string
  text: (row: Row, now: number) => Cell
  /** What rows are sorted by. */
  value: (row: Row) => string | number
  /** Figures stand to the right. */
  right?: true
}

export const SECTIONS = ['services', 'tunnels', 'flows', 'actors'] as const
export type Section = (typeof SECTIONS)[number]

type RowOf = {
  services: Model['services'][number]
  tunnels: Model['tunnels'][number]
  flows: Model['flows'][number]
  actors: Model['actors']['latest'][number]
}

const rate = (value: number | null): string => (value == null ? '-' : `${bytes(value)}/s`)
const named = (id: string | null, name: string | null): string => name ?? (id == null ? '-' : shortPeer(id))

const count = <Row>(title: string, value: (row: Row) => number): Column<Row> => ({
  title,
  value,
  text: (row) => String(value(row)),
  right: true
})
const carried = <Row extends { bytes_in: number; bytes_out: number }>(): Array<Column<Row>> => [
  { title: 'IN', value: (row) => row.bytes_in, text: (row) => bytes(row.bytes_in), right: true },
  { title: 'OUT', value: (row) => row.bytes_out, text: (row) => bytes(row.bytes_out), right: true }
]
const rates = <Row extends { rate_in: number | null; rate_out: number | null }>(): Array<Column<Row>> => [
  { title: 'IN/s', value: (row) => row.rate_in ?? -1, text: (row) => rate(row.rate_in), right: true },
  { title: 'OUT/s', value: (row) => row.rate_out ?? -1, text: (row) => rate(row.rate_out), right: true }
]
const text = <Row>(title: string, value: (row: Row) => string): Column<Row> => ({ title, value, text: value })
const phase = <Row>(title: string, value: (row: Row) => string): Column<Row> => ({
  title,
  value,
  text: (row) => state(value(row))
})
const ago = <Row>(title: string, value: (row: Row) => string | null): Column<Row> => ({
  title,
  value: (row) => value(row) ?? '',
  text: (row, now) => age(value(row), now),
  right: true
})

export const COLUMNS: { [S in Section]: ReadonlyArray<Column<RowOf[S]>> } = {
  services: [
    text('SERVICE', ({ id, name }) => name ?? id),
    text('AS', ({ role }) => role),
    text('PEER', ({ peer_id, peer_name }) => named(peer_id, peer_name)),
    phase('PHASE', (row) => row.phase),
    count('FLOWS', ({ flows }) => flows),
    ...rates<RowOf['services']>(),
    ...carried<RowOf['services']>()
  ],
  tunnels: [
    text('TUNNEL', ({ peer_id, peer_name }) => named(peer_id, peer_name)),
    text('DEVICE', ({ device }) => device),
    text('ENDPOINT', ({ endpoint }) => orDash(endpoint)),
    ago('HANDSHAKE', ({ handshake_at }) => handshake_at),
    ...rates<RowOf['tunnels']>(),
    ...carried<RowOf['tunnels']>()
  ],
  flows: [
    { ...ago<RowOf['flows']>('SINCE', ({ at }) => at), value: ({ at, reason }) => `${reason === 'open' ? 1 : 0}${at}` },
    text('FLOW', ({ service_id, service_name }) => service_name ?? service_id),
    text('AS', ({ side }) => side),
    text('CLIENT', ({ client }) => client),
    text('DESTINATION', ({ destination }) => destination),
    phase('STATE', ({ reason }) => reason),
    ...rates<RowOf['flows']>(),
    ...carried<RowOf['flows']>(),
    {
      title: 'LASTED',
      value: ({ duration_ms }) => duration_ms,
      text: ({ duration_ms }) => (duration_ms < 1000 ? `${Math.round(duration_ms)} ms` : duration(duration_ms / 1000)),
      right: true
    }
  ],
  actors: [
    ago('MOVED', ({ at }) => at),
    text('ACTOR', ({ path }) => path),
    phase('STATE', ({ to, status }) => (status === 'active' ? (to ?? '-') : status)),
    text('EVENT', ({ event }) => event),
    text('WHY', ({ reason }) => orDash(reason)),
    text('BY', ({ by }) => orDash(by))
  ]
}

/** As the screen begins: the busiest services and tunnels, and what happened last. */
export const FIRST_SORT: Record<Section, { column: number; down: boolean }> = {
  services: { column: indexOf('services', 'OUT/s'), down: true },
  tunnels: { column: indexOf('tunnels', 'OUT/s'), down: true },
  flows: { column: indexOf('flows', 'SINCE'), down: true },
  actors: { column: indexOf('actors', 'MOVED'), down: true }
}

function indexOf(section: Section, title: string): number {
  return COLUMNS[section].findIndex((column) => column.title === title)
}

export const rowsOf = (model: Model): { [S in Section]: ReadonlyArray<RowOf[S]> } => ({
  services: model.services,
  tunnels: model.tunnels,
  flows: model.flows,
  actors: model.actors.latest
})
