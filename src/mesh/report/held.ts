import type { ServiceId } from '../../crdt/schema.ts'
import type { ServiceReport } from '../mesh.ts'
import { sameStatement, type Mark } from './book.ts'
import type { Page } from './page.ts'

/** What another peer has said of its services, as far as it was read. */
export interface Held extends Mark {
  /** Changed in place: a delta costs what it holds, not what is known. */
  reports: Map<ServiceId, ServiceReport>
}

export const NOTHING: Readonly<Held> = { incarnation: 0, seq: 0, reports: new Map() }

export const isBehind = (held: Mark, version: Mark): boolean =>
  held.incarnation !== version.incarnation || held.seq < version.seq

/**
 * What is held with an answer taken over, and the services about which it says something else. Null for an answer that says
 * nothing newer: what was asked for and what was told by itself may come in any order.
 */
export function takeOver(held: Held, pages: [Page, ...Page[]]): { next: Held; news: ServiceId[] } | null {
  const { incarnation, seq, whole } = pages[0]
  if (!isBehind(held, { incarnation, seq })) return null
  const before = held.reports
  // What stands for nothing is shared by all peers, and stays empty.
  const reports = whole || held === NOTHING ? new Map<ServiceId, ServiceReport>() : before
  const news: ServiceId[] = []
  for (const page of pages) {
    for (const id of page.removed) if (reports.delete(id)) news.push(id)
    for (const report of page.changed) {
      const old = before.get(report.service_id)
      if (old == null || !sameStatement(old, report)) news.push(report.service_id)
      reports.set(report.service_id, report)
    }
  }
  if (reports !== before) for (const id of before.keys()) if (!reports.has(id)) news.push(id)
  return { next: { incarnation, seq, reports }, news }
}
