import type { Connection } from '@libp2p/interface'
import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { closeTimeoutMs, duplicateGraceMs, strangerIdleMs, upkeepMs } from '../limits.ts'
import { deadline } from '../deadline.ts'
import { keeper } from './keeper.ts'

/** A connection keeps the standing it was made with: what one end allowed before must not linger after it changed. */
export interface Link {
  connection: Connection
  peer: PeerId
  standing: 'member' | 'stranger'
  direction: 'inbound' | 'outbound'
  openedAt: number
  /** A join is under way on it: it may outlive the stranger's time and the change of standing that it brings about. */
  busy: boolean
  /** Streams that it opened and may not. */
  tries: number
}

export interface ConnectionEvents {
  /** The first connection of this standing came, or the last one of a member went. */
  onMember(link: Link): void
  onMemberGone(peer: PeerId): void
  onStranger(link: Link): void
  /** A peer's traffic should move to `link`, because another connection to it was closed. */
  onMoved(link: Link): void
  /** Called every `upkeepMs` for each member's best connection. */
  onUpkeep(link: Link): void
}

/**
 * All live connections. What always holds after `#evaluate`:
 *
 * 1. A member's peer id has one connection, apart from `duplicateGraceMs` after a second one was made.
 * 2. No connection has a standing that its peer has not, unless a join is under way on it.
 * 3. No stranger stays longer than `strangerIdleMs` without a join under way.
 */
export class Connections {
  readonly #self: PeerId
  readonly #clock: Clock
  readonly #isMember: (peer: PeerId) => boolean
  readonly #events: ConnectionEvents
  readonly #links = new Map<PeerId, Set<Link>>()
  #upkeep: Timer | null = null

  constructor(options: { self: PeerId; clock: Clock; isMember: (peer: PeerId) => boolean; events: ConnectionEvents }) {
    this.#self = options.self
    this.#clock = options.clock
    this.#isMember = options.isMember
    this.#events = options.events
  }

  start(): void {
    this.#upkeep = this.#clock.every(upkeepMs, () => this.evaluate())
  }

  stop(): void {
    this.#upkeep?.cancel()
    this.#upkeep = null
  }

  opened(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const link: Link = {
      connection,
      peer,
      standing: this.#isMember(peer) ? 'member' : 'stranger',
      direction: connection.direction,
      openedAt: this.#clock.monotonic(),
      busy: false,
      tries: 0
    }
    const first = this.best(peer) == null
    const links = this.#links.get(peer) ?? new Set()
    this.#links.set(peer, links.add(link))
    if (link.standing === 'stranger') this.#events.onStranger(link)
    else if (first) this.#events.onMember(link)
  }

  closed(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const links = this.#links.get(peer)
    const link = links?.values().find((one) => one.connection.id === connection.id)
    if (links == null || link == null) return
    links.delete(link)
    if (links.size === 0) this.#links.delete(peer)
    if (link.standing === 'stranger') return
    const best = this.best(peer)
    if (best == null) this.#events.onMemberGone(peer)
    else this.#events.onMoved(best)
  }

  /** The connection that a member's traffic uses. */
  best(peer: PeerId): Link | undefined {
    const all = this.#links.get(peer)
    // As nearly always, and it is asked for each peer at each message to all.
    if (all?.size === 1) for (const link of all) return link.standing === 'member' ? link : undefined
    const links = [...(all ?? [])].filter((link) => link.standing === 'member')
    return links.length < 2 ? links[0] : keeper(links, this.#self, peer)
  }

  /** Any connection, whatever its standing: what a join may use. */
  any(peer: PeerId): Link | undefined {
    return this.best(peer) ?? this.#links.get(peer)?.values().next().value
  }

  find(connection: Connection): Link | undefined {
    return this.#links
      .get(connection.remotePeer.toString())
      ?.values()
      .find((link) => link.connection.id === connection.id)
  }

  members(): PeerId[] {
    return [...this.#links.keys()].filter((peer) => this.best(peer) != null)
  }

  /** Closes every connection to `peer`, gracefully at first. */
  async hangUp(peer: PeerId): Promise<void> {
    await Promise.all([...(this.#links.get(peer) ?? [])].map((link) => this.close(link)))
  }

  async close(link: Link): Promise<void> {
    using limit = deadline(this.#clock, closeTimeoutMs)
    await link.connection.close({ signal: limit.signal }).catch((error: Error) => link.connection.abort(error))
    // A close that went unanswered leaves the socket half open.
    if (link.connection.status !== 'closed') link.connection.abort(new Error('closed'))
  }

  evaluate(): void {
    const now = this.#clock.monotonic()
    for (const [peer, links] of this.#links) {
      const standing = this.#isMember(peer) ? 'member' : 'stranger'
      const best = this.best(peer)
      for (const link of links) {
        const outstayed = link.standing === 'stranger' && now - link.openedAt > strangerIdleMs
        const changed = link.standing !== standing
        if (!link.busy && (outstayed || changed)) void this.close(link)
      }
      const newest = Math.max(...[...links].map((link) => link.openedAt))
      if (links.size > 1 && now - newest > duplicateGraceMs) {
        for (const link of links) if (link !== best && !link.busy) void this.close(link)
      }
      if (best != null) this.#events.onUpkeep(best)
    }
  }
}
