import type { Clock } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import {
  reportFetchesMax,
  reportPagesMax,
  reportsPerMessageMax,
  reportsPerPeerMax,
  questionBytesMax,
  reportTimeoutMs
} from '../limits.ts'
import type { ServiceReport } from '../mesh.ts'
import type { Channel, Network } from '../network.ts'
import { Slots } from '../slots.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Refusals } from '../refusals.ts'
import { sameStatement, type ReportBook, type ReportDelta } from './book.ts'
import { parsePage, parseQuestion, type Page } from './page.ts'

const REPORT_PROTOCOL = '/arctic/report/1.0.0'

interface Held {
  incarnation: number
  seq: number
  /** Changed in place: a delta costs what it holds, not what is known. */
  reports: Map<ServiceId, ServiceReport>
}

const NOTHING: Readonly<Held> = { incarnation: 0, seq: 0, reports: new Map() }

/**
 * Fetches other peers' service reports as deltas and serves this peer's own. A question is JSON {since, incarnation};
 * the answer is one or more pages of {@link ReportDelta}, all but the last with `more`.
 */
export class ReportExchange {
  readonly #network: Network
  readonly #book: ReportBook
  readonly #clock: Clock
  readonly #onReport: (peer: PeerId, news: readonly ServiceId[]) => void
  readonly #background: Background
  readonly #refusals: Refusals
  readonly #slots = new Slots(reportFetchesMax)
  readonly #held = new Map<PeerId, Held>()
  readonly #fetching = new Map<PeerId, Promise<Held>>()

  constructor(parts: {
    network: Network
    book: ReportBook
    clock: Clock
    log: Logger
    refusals: Refusals
    onReport: (peer: PeerId, news: readonly ServiceId[]) => void
  }) {
    this.#network = parts.network
    this.#book = parts.book
    this.#clock = parts.clock
    this.#refusals = parts.refusals
    this.#onReport = parts.onReport
    const log = parts.log.module('mesh:report')
    this.#background = new Background((error) =>
      log.debug({ error }, 'a report was not fetched; the next beat asks again')
    )
  }

  async start(): Promise<void> {
    await this.#network.handle(
      REPORT_PROTOCOL,
      this.#refusals.guard('report', (channel) => this.#serve(channel))
    )
  }

  async stop(): Promise<void> {
    await this.#background.stop()
  }

  held(peer: PeerId): ReadonlyMap<ServiceId, ServiceReport> {
    return (this.#held.get(peer) ?? NOTHING).reports
  }

  forget(peer: PeerId): void {
    this.#held.delete(peer)
  }

  /** A beat says that `peer` is at this version: fetch unless it is held. */
  announced(peer: PeerId, version: { incarnation: number; seq: number }): void {
    const held = this.#held.get(peer) ?? NOTHING
    if (held.incarnation === version.incarnation && held.seq >= version.seq) return
    this.#background.run((signal) => this.fetch(peer, { signal }))
  }

  /** The peer's report as it is now. UnavailableError when it does not answer. */
  async fetch(peer: PeerId, { signal }: { signal: AbortSignal }): Promise<ReadonlyMap<ServiceId, ServiceReport>> {
    const running = this.#fetching.get(peer)
    // One that began before the announcement may have been answered before the change, so it does not count.
    if (running != null) await running.catch(() => {})
    const fetching = this.#fetching.get(peer) ?? this.#fetch(peer, signal).finally(() => this.#fetching.delete(peer))
    this.#fetching.set(peer, fetching)
    return (await fetching).reports
  }

  async #fetch(peer: PeerId, signal: AbortSignal): Promise<Held> {
    using _ = await this.#slots.take({ signal })
    using limit = deadline(this.#clock, reportTimeoutMs, { signal })
    const held = this.#held.get(peer) ?? NOTHING
    const channel = await this.#network.open(peer, REPORT_PROTOCOL, { signal: limit.signal })
    try {
      const question = { since: held.seq, incarnation: held.incarnation }
      await channel.send(Buffer.from(JSON.stringify(question)))
      const pages = await this.#take(channel, peer, held.reports.size, limit.signal)
      void channel.close()
      const { next, news } = takeOver(held, pages)
      this.#held.set(peer, next)
      if (next.seq !== held.seq || next.incarnation !== held.incarnation) this.#onReport(peer, news)
      return next
    } catch (error) {
      this.#refusals.note('report', error)
      channel.abort(error as Error)
      throw error
    }
  }

  /** All pages of an answer: nothing of it counts before the last one is here. */
  async #take(channel: Channel, peer: PeerId, known: number, signal: AbortSignal): Promise<[Page, ...Page[]]> {
    const pages: Page[] = []
    let reports = 0
    for (;;) {
      const message = await channel.receive({ signal })
      if (message == null) throw new MisspokenError('cut_short', `peer ${peer} closed a report before it was done`)
      const page = parsePage(message)
      if (pages.push(page) > reportPagesMax)
        throw new MisspokenError('oversized', `peer ${peer} reports without an end`)
      reports += page.changed.length
      if (reports > reportsPerPeerMax || (!page.whole && reports + known > 2 * reportsPerPeerMax)) {
        throw new MisspokenError('oversized', `peer ${peer} reports on too many services`)
      }
      if (!page.more) return pages as [Page, ...Page[]]
    }
  }

  async #serve(channel: Channel): Promise<void> {
    using limit = deadline(this.#clock, reportTimeoutMs, { signal: this.#background.signal })
    const message = await channel.receive({ signal: limit.signal, bytesMax: questionBytesMax })
    if (message == null) return
    const { since, incarnation } = parseQuestion(message)
    const delta = this.#book.since(since, incarnation)
    for (const page of pages(delta)) await channel.send(Buffer.from(JSON.stringify(page)))
  }
}

/** What is held with the answer taken over, and the services about which it says something else. */
function takeOver(held: Held, pages: [Page, ...Page[]]): { next: Held; news: ServiceId[] } {
  const { incarnation, seq, whole } = pages[0]
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

function* pages(delta: ReportDelta): Iterable<Page> {
  const count = Math.max(1, Math.ceil(delta.changed.length / reportsPerMessageMax))
  for (let i = 0; i < count; i++) {
    const changed = delta.changed.slice(i * reportsPerMessageMax, (i + 1) * reportsPerMessageMax)
    yield { ...delta, changed, removed: i === 0 ? delta.removed : [], more: i < count - 1 }
  }
}
