import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import type { Random } from '../../random.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import { beatMs, beatPeersMax, pingEveryMs, pingTimeoutMs } from '../limits.ts'
import type { Network } from '../network.ts'
import type { Roster } from './roster.ts'

/**
 * Measures round trips: of a new peer within a second, of each about every `pingEveryMs`, less often in big clusters, at
 * random so that peers do not ping in step.
 */
export class Pinger {
  readonly #network: Network
  readonly #roster: Roster
  readonly #clock: Clock
  readonly #random: Random
  readonly #background: Background
  #timer: Timer | null = null

  constructor(parts: { network: Network; roster: Roster; clock: Clock; random: Random; log: Logger }) {
    this.#network = parts.network
    this.#roster = parts.roster
    this.#clock = parts.clock
    this.#random = parts.random
    const log = parts.log.module('mesh:presence')
    // What silence means is decided by beats.
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
    for (const peer of connected) {
      if (this.#roster.presence(peer).rttMs == null || this.#random.float() < share) this.#ping(peer)
    }
  }

  #ping(peer: PeerId): void {
    this.#background.run(async (signal) => {
      using limit = deadline(this.#clock, pingTimeoutMs, { signal })
      this.#roster.measured(peer, await this.#network.ping(peer, { signal: limit.signal }))
    })
  }
}
