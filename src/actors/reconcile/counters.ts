import type { Clock, Timer } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { Dataplane, ServiceCounters, TunnelCounters } from '../../dataplane/desired.ts'
import type { Logger } from '../../log.ts'
import { countersEveryMs, countersFreshMs, countersTimeShare, tunnelsEveryMs } from '../limits.ts'

export interface CountersOptions {
  dataplane: Pick<Dataplane, 'counters' | 'tunnels'>
  clock: Clock
  log: Logger
  /** Whether anything here can count: no services, no questions. */
  needed: () => boolean
  onServices: (counters: ReadonlyMap<ServiceId, ServiceCounters>) => void
  onTunnels: (tunnels: readonly TunnelCounters[]) => void
}

/** The data plane's figures, asked for at most once a second and never twice at a time. */
export class Counters {
  readonly #options: CountersOptions
  #services: ReadonlyMap<ServiceId, ServiceCounters> = new Map()
  #tunnels: readonly TunnelCounters[] = []
  #servicesAt = -Infinity
  #tunnelsAt = -Infinity
  #reading: Promise<void> | null = null
  #timer: Timer | null = null
  #stopped = false

  constructor(options: CountersOptions) {
    this.#options = options
  }

  start(): void {
    this.#schedule(countersEveryMs)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  get services(): ReadonlyMap<ServiceId, ServiceCounters> {
    return this.#services
  }

  get tunnels(): readonly TunnelCounters[] {
    return this.#tunnels
  }

  tunnelsOf(peer: PeerId): TunnelCounters[] {
    return this.#tunnels.filter((tunnel) => tunnel.peer === peer)
  }

  /** Reads anew unless the figures are fresh enough for an answer. Never rejects: old figures are better than none. */
  async fresh(): Promise<void> {
    if (!this.#options.needed() || this.#stopped) return
    const now = this.#options.clock.monotonic()
    if (now - this.#servicesAt < countersFreshMs && now - this.#tunnelsAt < countersFreshMs) return
    await this.#read(true)
  }

  #schedule(ms: number): void {
    if (this.#stopped) return
    this.#timer = this.#options.clock.after(ms, () => {
      void this.#tick()
    })
  }

  async #tick(): Promise<void> {
    const { clock, needed } = this.#options
    const began = clock.monotonic()
    if (needed()) await this.#read(began - this.#tunnelsAt >= tunnelsEveryMs)
    const tookMs = clock.monotonic() - began
    this.#schedule(Math.max(countersEveryMs, tookMs / countersTimeShare))
  }

  async #read(withTunnels: boolean): Promise<void> {
    this.#reading ??= this.#ask(withTunnels).finally(() => {
      this.#reading = null
    })
    await this.#reading
  }

  async #ask(withTunnels: boolean): Promise<void> {
    const { dataplane, clock, log, onServices, onTunnels } = this.#options
    try {
      const services = await dataplane.counters()
      const tunnels = withTunnels ? await dataplane.tunnels() : null
      if (this.#stopped) return
      this.#services = services
      this.#servicesAt = clock.monotonic()
      onServices(services)
      if (tunnels == null) return
      this.#tunnels = tunnels
      this.#tunnelsAt = clock.monotonic()
      onTunnels(tunnels)
    } catch (error) {
      // An engine that restarts cannot be asked; the next reading tells.
      log.debug({ error }, 'counters could not be read')
    }
  }
}
