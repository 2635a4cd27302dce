import { append } from '../append.ts'
import { splicesOf } from './splices.ts'
import type { PegasusListener, PegasusState } from './pegasus.ts'
import { itemText } from './state-text.ts'

/** What differs between two states, as Pegasus is told it (engines/PROTOCOL.md, "Changes of a Pegasus state"). */
export interface PegasusChange {
  peers?: Entries<PegasusState['peers'][number]>
  listeners?: Entries<PegasusListener>
  outbound?: Entries<PegasusState['outbound'][number]>
  inbound?: Entries<PegasusState['inbound'][number]>
  routes?: RoutesChange[]
}

interface Entries<T> {
  remove?: string[]
  set?: T[]
}

interface RoutesChange {
  listener: string
  /** `at` counts in the list as the splices before have left it. */
  splices: { at: number; remove: number; insert: TableRoute[] }[]
}

type TableListener = Extract<PegasusListener, { table: unknown }>
type TableRoute = TableListener['table']['routes'][number]

/**
 * What has to be told to make `after` of `before`; null where the whole state says it better: when something is another of
 * which there is one, or so much that there is nothing to be saved.
 */
export function pegasusChange(before: PegasusState, after: PegasusState): PegasusChange | null {
  if (onceOf(before) !== onceOf(after)) return null
  const change: PegasusChange = {}
  const told = {
    peers: entries(before.peers, after.peers, (peer) => peer.peer_id, textOf),
    outbound: entries(before.outbound, after.outbound, serviceId, textOf),
    inbound: entries(before.inbound, after.inbound, serviceId, textOf),
    listeners: entries(before.listeners, after.listeners, (listener) => listener.name, listenerText)
  }
  const set = new Set(told.listeners.set?.map(({ name }) => name))
  const routes = after.listeners.flatMap((listener) => {
    if (!isTable(listener) || set.has(listener.name)) return []
    const was = before.listeners.find(({ name }) => name === listener.name) as TableListener
    const splices = routeSplices(was.table.routes, listener.table.routes)
    return splices.length === 0 ? [] : [{ listener: listener.name, splices }]
  })
  let items = 0
  for (const [name, list] of Object.entries(told)) {
    const size = (list.set?.length ?? 0) + (list.remove?.length ?? 0)
    if (size > 0) Object.assign(change, { [name]: list })
    items += size
  }
  if (routes.length > 0) change.routes = routes
  for (const { splices } of routes) for (const { remove, insert } of splices) items += remove + insert.length
  return items > smallMax && items > sizeOf(after) / 2 ? null : change
}

/** So few are told as what they are in any case. */
const smallMax = 16

const serviceId = ({ service_id }: { service_id: string }): string => service_id

const textOf = (item: object): string => itemText(item)

const isTable = (listener: PegasusListener): listener is TableListener => 'table' in listener

const sizeOf = ({ peers, listeners, outbound, inbound }: PegasusState): number =>
  peers.length +
  outbound.length +
  inbound.length +
  listeners.reduce((sum, listener) => sum + (isTable(listener) ? listener.table.routes.length : 1), 0)

/** All of which there is one. */
const onceOf = ({ data_listen, self, bypass_mark, kcp_congestion_control }: PegasusState): string =>
  JSON.stringify([data_listen, self, bypass_mark, kcp_congestion_control])

/**
 * What of a listener is not told by its routes. Its port is a wish for the time when it is made: one that is there keeps its own,
 * and says which.
 */
const listenerText = (listener: PegasusListener): string =>
  isTable(listener)
    ? JSON.stringify([listener.name, 'table', listener.table.attached])
    : JSON.stringify([listener.name, 'service', listener.service_id])

function entries<T extends object>(
  before: readonly T[],
  after: readonly T[],
  nameOf: (item: T) => string,
  told: (item: T) => string
): Entries<T> {
  const gone = new Map<string, T>()
  const come: T[] = []
  for (const { removed, inserted } of splicesOf(before, after)) {
    for (const item of removed) gone.set(nameOf(item), item)
    append(come, inserted)
  }
  const set = come.filter((item) => {
    const was = gone.get(nameOf(item))
    gone.delete(nameOf(item))
    return was == null || told(was) !== told(item)
  })
  return { ...(gone.size === 0 ? {} : { remove: [...gone.keys()] }), ...(set.length === 0 ? {} : { set }) }
}

function routeSplices(before: readonly TableRoute[], after: readonly TableRoute[]): RoutesChange['splices'] {
  let moved = 0
  return splicesOf(before, after).map(({ at, removed, inserted }) => {
    const splice = { at: at + moved, remove: removed.length, insert: [...inserted] }
    moved += inserted.length - removed.length
    return splice
  })
}
