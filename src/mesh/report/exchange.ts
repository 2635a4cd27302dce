import type { Clock, Timer } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import {
  questionBytesMax,
  reportFetchesMax,
  reportPagesMax,
  reportsPerPeerMax,
  reportTimeoutMs,
  reportToldMs
} from '../limits.ts'
import type { ServiceReport } from '../mesh.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel, Network } from '../network.ts'
import type { Refusals } from '../refusals.ts'
import { Slots } from '../slots.ts'
import type { Mark, ReportBook } from './book.ts'
import { Followers } from './followers.ts'
import { isBehind, NOTHING, takeOver, type Held } from './held.ts'
import { parsePage, parseQuestion, sendDelta, type Page } from './page.ts'

const REPORT_PROTOCOL = '/arctic/report/1.0.0'

/**
 * Fetches other peers' service reports as deltas and serves this peer's own. A question is JSON {since, incarnation, follow};
 * the answer is one or more pages of {@link ReportDelta}, all but the last with `more`. To who follows, the channel stays
 * open, and each change is one more answer; an agent that knows nothing of following answers once and closes.
 */
export class ReportExchange {
  readonly #network: Network
  readonly #book: ReportBook
  readonly #followers: Followers
  readonly #clock: Clock
  readonly #onReport: (peer: PeerId, news: readonly ServiceId[]) => void
  readonly #background: Background
  readonly #refusals: Refusals
  readonly #slots = new Slots(reportFetchesMax)
  readonly #held = new Map<PeerId, Held>()
  readonly #fetching = new Map<PeerId, Promise<Held>>()
  #wanted: ReadonlySet<PeerId> = new Set()
  readonly #following = new Map<PeerId, AbortController>()
  /** Those that answer once and close, as long as they are connected. */
  readonly #answerOnce = new Set<PeerId>()
  /** Followed ones that have announced more than they have told, and when they are asked for it. */
  readonly #overdue = new Map<PeerId, Timer>()
  readonly #releases: Array<() => void> = []

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
    this.#followers = new Followers(parts.book)
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
      this.#refusals.guard('report', (channel, from) => this.#serve(channel, from))
    )
    this.#releases.push(
      this.#network.onConnect((peer) => this.#followOne(peer)),
      this.#network.onDisconnect((peer) => this.#answerOnce.delete(peer))
    )
  }

  async stop(): Promise<void> {
    for (const release of this.#releases.splice(0)) release()
    for (const timer of this.#overdue.values()) timer.cancel()
    this.#overdue.clear()
    await this.#background.stop()
  }

  held(peer: PeerId): ReadonlyMap<ServiceId, ServiceReport> {
    return (this.#held.get(peer) ?? NOTHING).reports
  }

  forget(peer: PeerId): void {
    this.#held.delete(peer)
    this.#unfollow(peer)
  }

  /** From now on these are followed whenever they are connected, and nobody else. */
  follow(peers: ReadonlySet<PeerId>): void {
    if (peers === this.#wanted) return
    this.#wanted = peers
    for (const peer of this.#following.keys()) if (!peers.has(peer)) this.#unfollow(peer)
    for (const peer of this.#network.connected()) this.#followOne(peer)
  }

  /** The book has changed: tells who follows. Answers whether these all do, as far as they are connected. */
  tell(peers: ReadonlySet<PeerId>): boolean {
    this.#followers.changed()
    return this.#network.connected().every((peer) => !peers.has(peer) || this.#followers.has(peer))
  }

  /** A beat says that `peer` is at this version. */
  announced(peer: PeerId, version: Mark): void {
    const behind = (): boolean => isBehind(this.#held.get(peer) ?? NOTHING, version)
    if (!this.#following.has(peer) && !this.#answerOnce.has(peer)) this.#followOne(peer)
    if (!behind()) return
    if (!this.#following.has(peer)) {
      this.#background.run((signal) => this.fetch(peer, { signal }))
      return
    }
    if (this.#overdue.has(peer)) return
    const late = this.#clock.after(reportToldMs, () => {
      this.#overdue.delete(peer)
      if (behind()) this.#background.run((signal) => this.fetch(peer, { signal }))
    })
    this.#overdue.set(peer, late)
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
    return this.#ask(peer, { follow: false, signal: limit.signal }, async (channel) => {
      this.#take(peer, await this.#answer(channel, peer, limit.signal))
      void channel.close()
      return this.#held.get(peer) ?? NOTHING
    })
  }

  #followOne(peer: PeerId): void {
    if (!this.#wanted.has(peer) || this.#following.has(peer)) return
    const end = new AbortController()
    this.#following.set(peer, end)
    this.#background.run(async (stop) => {
      try {
        await this.#follow(peer, AbortSignal.any([stop, end.signal]))
      } finally {
        if (this.#following.get(peer) === end) this.#following.delete(peer)
      }
    })
  }

  #unfollow(peer: PeerId): void {
    this.#following.get(peer)?.abort(new Error('it is not followed any more'))
    this.#following.delete(peer)
    this.#overdue.get(peer)?.cancel()
    this.#overdue.delete(peer)
  }

  /** Takes in what the peer tells until one of both ends it. */
  async #follow(peer: PeerId, signal: AbortSignal): Promise<void> {
    await this.#ask(peer, { follow: true, signal }, async (channel) => {
      {
        using _ = await this.#slots.take({ signal })
        using limit = deadline(this.#clock, reportTimeoutMs, { signal })
        this.#take(peer, await this.#answer(channel, peer, limit.signal))
      }
      for (let answers = 1; ; answers++) {
        const message = await channel.receive({ signal })
        if (message == null) {
          if (answers === 1) this.#answerOnce.add(peer)
          break
        }
        using limit = deadline(this.#clock, reportTimeoutMs, { signal })
        this.#take(peer, await this.#answer(channel, peer, limit.signal, message))
      }
      void channel.close()
    })
  }

  /** Opens a channel and asks what is new there; `use` takes the answers, and the channel ends with what it throws. */
  async #ask<T>(
    peer: PeerId,
    { follow, signal }: { follow: boolean; signal: AbortSignal },
    use: (channel: Channel) => Promise<T>
  ): Promise<T> {
    const channel = await this.#network.open(peer, REPORT_PROTOCOL, { signal })
    try {
      const { seq: since, incarnation } = this.#held.get(peer) ?? NOTHING
      await channel.send(Buffer.from(JSON.stringify({ since, incarnation, ...(follow ? { follow } : {}) })))
      return await use(channel)
    } catch (error) {
      this.#refusals.note('report', error)
      channel.abort(error as Error)
      throw error
    }
  }

  /** All pages of an answer, of which the first message may be there: nothing of it counts before the last one is here. */
  async #answer(
    channel: Channel,
    peer: PeerId,
    signal: AbortSignal,
    first: Uint8Array | null = null
  ): Promise<[Page, ...Page[]]> {
    const known = this.held(peer).size
    const pages: Page[] = []
    let reports = 0
    for (let message = first; ; message = null) {
      message ??= await channel.receive({ signal })
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

  #take(peer: PeerId, pages: [Page, ...Page[]]): void {
    const taken = takeOver(this.#held.get(peer) ?? NOTHING, pages)
    if (taken == null) return
    this.#held.set(peer, taken.next)
    this.#onReport(peer, taken.news)
  }

  async #serve(channel: Channel, from: PeerId): Promise<void> {
    const mark = await this.#serveOnce(channel)
    if (mark != null) await this.#followers.serve(channel, from, mark, this.#background.signal)
  }

  /** Answers one question; how far the asker has read then, if it wants to follow. */
  async #serveOnce(channel: Channel): Promise<Mark | null> {
    using limit = deadline(this.#clock, reportTimeoutMs, { signal: this.#background.signal })
    const message = await channel.receive({ signal: limit.signal, bytesMax: questionBytesMax })
    if (message == null) return null
    const { since, incarnation, follow } = parseQuestion(message)
    const mark = await sendDelta(channel, this.#book.since(since, incarnation))
    return follow ? mark : null
  }
}
