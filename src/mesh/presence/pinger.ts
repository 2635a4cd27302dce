import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import type { Random } from '../../random.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import { beatMs, beatPeersMax, pingEveryMs, pingsMissedMax, pingTimeoutMs } from '../limits.ts'
import type { Network } from '../network.ts'
import type { Roster } from './roster.ts'

/**
 * Measures round trips: of a new peer within a second, of each about every `pingEveryMs`, less often in big clusters, at
 * random so that peers do not ping in step.
 *
 * It is also what notices a dead wire: a peer's beats may still arrive through others when the direct way is gone, and TCP
 * needs minutes to say so. A ping that fails is repeated at the next beat; `pingsMissedMax` in a row mean that nothing
 * goes through this connection.
 */
export class Pinger {
  readonly #network: Network
  readonly #roster: Roster
  readonly #clock: Clock
  readonly #random: Random
  readonly #background: Background
  readonly #log: Logger
  /** Pings in a row that were not answered. */
  readonly #missed = new Map<PeerId, number>()
  readonly #underway = new Set<PeerId>()
  #timer: Timer | null = null

  constructor(parts: { network: Network; roster: Roster; clock: Clock; random: Random; log: Logger }) {
    this.#network = parts.network
    this.#roster = parts.roster
    this.#clock = parts.clock
    this.#random = parts.random
    const log = parts.log.module('mesh:presence')
    this.#log = log
    this.#background = new Background((error) => log.debug({ error }, 'a ping was not answered'))
  }

  start(): void {
    this.#timer = this.#clock.every(beatMs, () => this.#pingSome())
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.#background.stop()
  }

  #pingSome(): void {
    const connected = this.#network.connected()
    const share = (beatMs / pingEveryMs) * Math.min(1, beatPeersMax / Math.max(1, connected.length))
    for (const peer of this.#missed.keys()) if (!connected.includes(peer)) this.#missed.delete(peer)
    for (const peer of connected) {
      const due = this.#roster.presence(peer).rttMs == null || this.#missed.has(peer) || this.#random.float() < share
      if (due && !this.#underway.has(peer)) this.#ping(peer)
    }
  }

  #ping(peer: PeerId): void {
    this.#underway.add(peer)
    this.#background.run(async (signal) => {
      const began = this.#clock.monotonic()
      try {
        using limit = deadline(this.#clock, pingTimeoutMs, { signal })
        this.#roster.measured(peer, await this.#network.ping(peer, { signal: limit.signal }))
        this.#missed.delete(peer)
      } catch (error) {
        if (signal.aborted) return
        // A deadline that came much too late was ours: this process stood still, the peer may well have answered.
        if (this.#clock.monotonic() - began < 2 * pingTimeoutMs) await this.#missing(peer)
        throw error
      } finally {
        this.#underway.delete(peer)
      }
    })
  }

  async #missing(peer: PeerId): Promise<void> {
    const missed = (this.#missed.get(peer) ?? 0) + 1
    this.#missed.set(peer, missed)
    if (missed < pingsMissedMax || !this.#network.connected().includes(peer)) return
    this.#missed.delete(peer)
    this.#log.info({ peer }, 'nothing goes through the connection to a peer; it is made anew')
    await this.#network.hangUp(peer)
  }
}
