import type { PastRouteJson, RouteJson, RouteTestJson } from '../../../actors/operator/operator.ts'
import { orDash, shortPeer, state } from '../humane.ts'
import { type Cell, record, table, type TableOptions } from '../table.ts'

const any = (cidr: string | null): string => cidr ?? 'any'

export function routesText(
  routes: ReadonlyArray<RouteJson | PastRouteJson>,
  { wide, colours }: TableOptions,
  names: ReadonlyMap<string, string>
): string {
  return table(
    ['ID', 'SERVICE', 'SOURCE', 'DESTINATION', 'PRIORITY', 'STATUS', ...(wide ? ['SERVICE NAME'] : [])],
    routes.map((route): Cell[] => [
      route.id,
      route.service_id,
      any(route.source_cidr),
      any(route.dest_cidr),
      String(route.priority),
      route.status == null ? '-' : state(route.status),
      ...(wide ? [orDash(names.get(route.service_id))] : [])
    ]),
    colours
  )
}

export function routeText(route: RouteJson, colours: boolean): string {
  return record(
    [
      ['id', route.id],
      ['service', route.service_id],
      ['source', any(route.source_cidr)],
      ['destination', any(route.dest_cidr)],
      ['priority', String(route.priority)],
      ['status', state(route.status)]
    ],
    colours
  )
}

export function routeTestText(answer: RouteTestJson, colours: boolean): string {
  const head = record(
    [
      ['handler', answer.handler],
      ['service', orDash(answer.service_id)],
      ['route', orDash(answer.route_id)],
      ['target peer', answer.target_peer_id == null ? '-' : shortPeer(answer.target_peer_id)],
      ['reason', answer.reason],
      ...(answer.change == null ? [] : ([['put there', originText(answer.change)]] as const))
    ],
    colours
  )
  if (answer.candidates == null) return head
  if (answer.candidates.length === 0) return `${head}\nno candidates\n`
  const candidates = table(
    ['', 'SERVICE', 'ROUTE', 'RULE', 'REASON'],
    answer.candidates.map((candidate): Cell[] => [
      candidate.won ? { text: 'won', colour: 'green' } : { text: 'lost', colour: 'dim' },
      candidate.service_id,
      orDash(candidate.route_id),
      candidate.rule.replaceAll('_', ' '),
      candidate.reason
    ]),
    colours
  )
  return `${head}\n${candidates}`
}

const originText = ({ id, author, author_name: name, at }: NonNullable<RouteTestJson['change']>): string =>
  `${at} by ${name ?? shortPeer(author)}, change ${id.slice(0, 12)}`
