import type { Clock, Timer } from '../clock.ts'
import type { PeerId } from '../crdt/schema.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { Background } from './background.ts'
import {
  redialCapMs,
  redialHintMs,
  redialMaxMs,
  redialMinMs,
  redialsMax,
  redialTurnMs,
  redialTurnsMs,
  redialYieldMs
} from './limits.ts'
import type { Network } from './network.ts'
import { Slots } from './slots.ts'

interface Target {
  failures: number
  timer: Timer | null
  dialing: boolean
  /** Monotonic ms. */
  connectedAt: number
  /** Where it was reached last, for the time before its record is known and after its addresses have changed. */
  lastKnown: string[]
  /** A dial has failed since it was connected last. */
  away: boolean
  /** When the first dial is not left to the other one: how long it waits for its turn, ms. */
  turnMs: number | null
}

/**
 * Keeps a connection to every member, for as long as it is one. What always holds after `#evaluate`:
 *
 * 1. A member that is not connected is being dialled or has a timer for the next dial; it is never given up.
 * 2. A member that is connected has neither.
 *
 * The wait doubles from `redialMinMs` to a longest one that goes by the number of members, jittered. Of two peers the
 * greater id waits `redialYieldMs` more at first, so that dials seldom cross (those that do are sorted out by the network).
 */
export class Redial {
  readonly #network: Network
  readonly #addressesOf: (peer: PeerId) => string[]
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Logger
  readonly #background: Background
  readonly #slots = new Slots(redialsMax)
  readonly #targets = new Map<PeerId, Target>()
  readonly #releases: Array<() => void> = []
  /** Monotonic ms. */
  #hintedAt = -Infinity

  constructor(parts: {
    network: Network
    addressesOf: (peer: PeerId) => string[]
    clock: Clock
    random: Random
    log: Logger
  }) {
    this.#network = parts.network
    this.#addressesOf = parts.addressesOf
    this.#clock = parts.clock
    this.#random = parts.random
    this.#log = parts.log.module('mesh:redial')
    this.#background = new Background((error) => this.#log.warn({ error }, 'a redial ended unexpectedly'))
  }

  start(): void {
    this.#releases.push(
      this.#network.onConnect((peer, direction) => {
        const target = this.#targets.get(peer)
        if (target == null) return
        target.connectedAt = this.#clock.monotonic()
        if (direction === 'outbound') target.lastKnown = this.#network.remoteAddresses(peer)
        const wasAway = target.away || this.#network.connected().length === 1
        target.away = false
        this.#evaluate(peer)
        // One is back that was away, or the first of all: others may be there as well, for the same reason.
        if (wasAway) this.#hintOthers(peer)
      }),
      this.#network.onDisconnect((peer) => {
        const target = this.#targets.get(peer)
        if (target == null) return
        // Who hangs up at once does not know this peer as a member yet, or is in trouble: no reason to hurry.
        const held = this.#clock.monotonic() - target.connectedAt >= redialMaxMs
        target.failures = held ? 0 : target.failures + 1
        this.#evaluate(peer)
      })
    )
  }

  async stop(): Promise<void> {
    for (const release of this.#releases.splice(0)) release()
    for (const target of this.#targets.values()) target.timer?.cancel()
    this.#targets.clear()
    await this.#background.stop()
  }

  /**
   * The members, this peer left out. Who is new is dialled, who is gone is left alone. `prompt`: nobody has a reason to dial
   * this peer just now, so that it need not leave the first dial to anybody. They follow each other closely and are not all at
   * once: a peer that starts hears from the first one what it has missed, while it would be busy with handshakes.
   */
  members(peers: Iterable<PeerId>, { prompt = false } = {}): void {
    const wanted = new Set(peers)
    for (const [peer, target] of this.#targets) {
      if (wanted.has(peer)) continue
      target.timer?.cancel()
      this.#targets.delete(peer)
    }
    const fresh = [...wanted].filter((peer) => !this.#targets.has(peer))
    const first = Math.floor(this.#random.float() * fresh.length)
    const stepMs = Math.min(redialTurnMs, redialTurnsMs / fresh.length)
    for (const [i, peer] of fresh.entries()) {
      this.#targets.set(peer, {
        failures: 0,
        timer: null,
        dialing: false,
        connectedAt: 0,
        lastKnown: [],
        away: false,
        turnMs: prompt ? ((i + fresh.length - first) % fresh.length) * stepMs : null
      })
      this.#evaluate(peer)
    }
  }

  /** Another way to `peer` is known: its record has changed, or an invite names it. Tried at once. */
  hint(peer: PeerId, addresses: string[] = []): void {
    const target = this.#targets.get(peer)
    if (target == null) return
    if (addresses.length > 0) target.lastKnown = addresses
    this.#now(peer, target)
  }

  #hintOthers(connected: PeerId): void {
    const now = this.#clock.monotonic()
    // While many come back, each does; and one that comes and goes must not have all others dialled each time.
    if (now - this.#hintedAt < redialHintMs) return
    this.#hintedAt = now
    for (const [peer, target] of this.#targets) {
      // Whose first dial comes in a moment anyway waits for it.
      if (peer !== connected && target.failures > 0) this.#now(peer, target)
    }
  }

  #now(peer: PeerId, target: Target): void {
    target.failures = 0
    target.timer?.cancel()
    target.timer = null
    this.#evaluate(peer)
  }

  #evaluate(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target == null) return
    if (this.#network.connected().includes(peer)) {
      target.timer?.cancel()
      target.timer = null
      return
    }
    if (target.dialing || target.timer != null) return
    target.timer = this.#clock.after(this.#waitMs(peer, target), () => {
      target.timer = null
      this.#background.run((signal) => this.#dial(peer, target, signal))
    })
  }

  #waitMs(peer: PeerId, target: Target): number {
    const { failures, turnMs } = target
    target.turnMs = null
    if (failures === 0) {
      return turnMs ?? (this.#network.self < peer ? 0 : redialYieldMs * (1 + this.#random.float()))
    }
    return (
      Math.min(redialCapMs(this.#targets.size), redialMinMs * 2 ** (failures - 1)) * (0.5 + this.#random.float() / 2)
    )
  }

  async #dial(peer: PeerId, target: Target, signal: AbortSignal): Promise<void> {
    target.dialing = true
    try {
      using _ = await this.#slots.take({ signal })
      if (this.#network.connected().includes(peer)) return
      const addresses = [...new Set([...target.lastKnown, ...this.#addressesOf(peer)])]
      // A new member's record is on its way, and its arrival is a hint.
      if (addresses.length === 0) target.failures++
      else await this.#network.dial(peer, addresses, { signal })
    } catch (error) {
      signal.throwIfAborted()
      target.failures++
      target.away = true
      this.#log.debug({ peer, failures: target.failures, error: (error as Error).message }, 'dial failed')
    } finally {
      target.dialing = false
      if (!signal.aborted && this.#targets.get(peer) === target) this.#evaluate(peer)
    }
  }
}
