import type { Clock } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { apartMs, beatMs, beatsMissedMax, discoveredMax, discoveredTtlMs } from '../limits.ts'
import type { PeerPresence } from '../mesh.ts'
import type { Beat } from './beat.ts'

interface Entry {
  connectedAt: number | null
  /** Since when it has been heard of, or could be, without being connected. */
  apartAt: number | null
  beat: Beat | null
  /** Monotonic ms of the last beat; the wall clock's is for people. */
  beatAt: number
  seenAt: number | null
  rttMs: number | null
  /** Addresses of a stranger when it was seen; a member's are asked of the network. */
  addresses: string[]
  /** Arrival − sending of late beats, and the least of them: the difference of the clocks plus the shortest way. */
  delays: number[]
  leastDelay: number
}

export interface RosterEvents {
  onChange(peer: PeerId): void
  /** Connected, yet silent for too long: the connection is half open, or gossip does not come through it. */
  onSilent(peer: PeerId): void
}

const DELAYS_KEPT = 16

/**
 * Who is there. External events only change entries; `evaluate` then decides, about the one peer or all, so that:
 *
 * 1. A member is reachable exactly when it is connected and its last beat is younger than `beatsMissedMax` intervals.
 * 2. A member that is connected for that long without a fresh beat is reported silent, once per connection.
 * 3. Entries of peers that are no members are at most `discoveredMax`, and gone `discoveredTtlMs` after the last sign.
 */
export class Roster {
  readonly #clock: Clock
  readonly #isMember: (peer: PeerId) => boolean
  readonly #events: RosterEvents
  readonly #entries = new Map<PeerId, Entry>()
  readonly #reachable = new Set<PeerId>()
  #evaluatedAt: number

  constructor(parts: { clock: Clock; isMember: (peer: PeerId) => boolean; events: RosterEvents }) {
    this.#clock = parts.clock
    this.#isMember = parts.isMember
    this.#events = parts.events
    this.#evaluatedAt = parts.clock.monotonic()
  }

  connected(peer: PeerId): void {
    const entry = this.#entry(peer)
    entry.connectedAt = this.#clock.monotonic()
    entry.apartAt = null
    this.#seen(peer)
    this.#evaluated(peer)
  }

  disconnected(peer: PeerId): void {
    const entry = this.#entries.get(peer)
    if (entry != null) {
      entry.connectedAt = null
      entry.apartAt = this.#clock.monotonic()
    }
    this.#evaluated(peer)
  }

  stranger(peer: PeerId, addresses: string[]): void {
    this.#entry(peer).addresses = addresses
    this.#seen(peer)
    this.#events.onChange(peer)
  }

  /** Whether a beat is news. An older incarnation is believed only of a peer that has fallen silent: clocks may jump back. */
  isNews(beat: Beat): boolean {
    const entry = this.#entries.get(beat.peer)
    const held = entry?.beat
    if (entry == null || held == null) return true
    if (beat.incarnation === held.incarnation) return beat.counter > held.counter
    return beat.incarnation > held.incarnation || !this.#isFresh(entry)
  }

  /** A beat whose signature is good. Returns what it replaces. */
  heard(beat: Beat): Beat | null {
    const entry = this.#entry(beat.peer)
    const previous = entry.beat
    entry.beat = beat
    entry.beatAt = this.#clock.monotonic()
    if (entry.connectedAt == null) entry.apartAt ??= entry.beatAt
    entry.delays.push(this.#clock.now() - beat.sentAt)
    if (entry.delays.length > DELAYS_KEPT) entry.delays.shift()
    entry.leastDelay = Math.min(...entry.delays)
    this.#seen(beat.peer)
    const material =
      previous == null ||
      previous.vector !== beat.vector ||
      previous.version !== beat.version ||
      previous.heads.join() !== beat.heads.join() ||
      previous.report.seq !== beat.report.seq ||
      previous.report.incarnation !== beat.report.incarnation
    const wasReachable = this.#reachable.has(beat.peer)
    this.#evaluated(beat.peer)
    if (material && wasReachable === this.#reachable.has(beat.peer)) this.#events.onChange(beat.peer)
    return previous
  }

  measured(peer: PeerId, rttMs: number): void {
    this.#entry(peer).rttMs = rttMs
    this.#seen(peer)
  }

  beatOf(peer: PeerId): Beat | null {
    return this.#entries.get(peer)?.beat ?? null
  }

  isReachable(peer: PeerId): boolean {
    return this.#reachable.has(peer)
  }

  /** Whether a fresh beat of it has come, be it through others. */
  isHeard(peer: PeerId): boolean {
    const entry = this.#entries.get(peer)
    return entry != null && this.#isFresh(entry)
  }

  /** Whether it is there and this peer is not connected to it, for longer than it takes to connect. */
  isApart(peer: PeerId): boolean {
    const entry = this.#entries.get(peer)
    if (entry?.apartAt == null || entry.connectedAt != null || !this.#isFresh(entry)) return false
    return this.#clock.monotonic() - entry.apartAt >= apartMs
  }

  /** How far `peer`'s wall clock is behind this one's, ms: the least delay seen, less half a round trip. */
  clockOffsetMs(peer: PeerId): number {
    const entry = this.#entries.get(peer)
    if (entry == null || entry.delays.length === 0) return 0
    return entry.leastDelay - (entry.rttMs ?? 0) / 2
  }

  peers(): PeerId[] {
    return [...this.#entries.keys()]
  }

  presence(peer: PeerId): Omit<PeerPresence, 'state' | 'addresses'> & { addresses: string[] } {
    const entry = this.#entries.get(peer)
    return {
      id: peer,
      reachable: this.#reachable.has(peer),
      addresses: entry?.addresses ?? [],
      rttMs: entry?.rttMs ?? null,
      lastSeenAt: entry?.seenAt ?? null,
      version: entry?.beat?.version ?? null,
      clockBehindMs: entry?.beat == null ? null : this.clockOffsetMs(peer),
      heads: entry?.beat?.heads ?? null
    }
  }

  evaluate(): void {
    const now = this.#clock.monotonic()
    // When this process was stalled, silence is its own fault: the others get the lost time back.
    const stalled = now - this.#evaluatedAt - beatMs
    this.#evaluatedAt = now
    for (const [peer, entry] of this.#entries) {
      if (stalled > 0) {
        entry.beatAt += stalled
        if (entry.connectedAt != null) entry.connectedAt += stalled
      }
      this.#evaluateOne(peer, entry, now)
    }
  }

  /** After something about one peer: time itself is the regular evaluation's business, unless that is overdue. */
  #evaluated(peer: PeerId): void {
    const now = this.#clock.monotonic()
    const entry = this.#entries.get(peer)
    if (now - this.#evaluatedAt > beatMs) this.evaluate()
    else if (entry != null) this.#evaluateOne(peer, entry, now)
  }

  #evaluateOne(peer: PeerId, entry: Entry, now: number): void {
    const member = this.#isMember(peer)
    const fresh = this.#isFresh(entry)
    const reachable = member && entry.connectedAt != null && fresh
    if (reachable !== this.#reachable.has(peer)) {
      if (reachable) this.#reachable.add(peer)
      else this.#reachable.delete(peer)
      this.#events.onChange(peer)
    }
    const patience = (entry.beat?.everyMs ?? beatMs) * beatsMissedMax
    if (member && !fresh && entry.connectedAt != null && now - entry.connectedAt > patience) {
      entry.connectedAt = now
      this.#events.onSilent(peer)
    }
    const old = entry.seenAt == null || this.#clock.now() - entry.seenAt > discoveredTtlMs
    if (!member && old) this.#entries.delete(peer)
  }

  #isFresh(entry: Entry): boolean {
    return entry.beat != null && this.#clock.monotonic() - entry.beatAt <= entry.beat.everyMs * beatsMissedMax
  }

  #seen(peer: PeerId): void {
    this.#entry(peer).seenAt = this.#clock.now()
  }

  #entry(peer: PeerId): Entry {
    const held = this.#entries.get(peer)
    if (held != null) return held
    const entry: Entry = {
      connectedAt: null,
      apartAt: null,
      beat: null,
      beatAt: -Infinity,
      seenAt: null,
      rttMs: null,
      addresses: [],
      delays: [],
      leastDelay: Infinity
    }
    if (!this.#isMember(peer)) this.#makeRoom()
    this.#entries.set(peer, entry)
    return entry
  }

  #makeRoom(): void {
    const strangers = [...this.#entries.keys()].filter((peer) => !this.#isMember(peer))
    // Maps keep insertion order: the one met first leaves.
    if (strangers.length >= discoveredMax) this.#entries.delete(strangers[0]!)
  }
}
