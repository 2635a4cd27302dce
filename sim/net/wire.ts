import { latencyMinMs, retransmitDoublings, retransmitMs, spreadMs } from '../limits.ts'
import type { SeededRandom } from '../random.ts'
import type { Scheduler } from '../scheduler.ts'

/** Where a host meets the wire. It outlives the agents that run there. */
export interface Station {
  readonly index: number
  readonly ip: string
  readonly x: number
  readonly y: number
  powered: boolean
  /** Virtual time until which the host stands still; what arrives waits. */
  frozenUntil: number
  /** Who accepts connections. */
  listener: Listening | null
}

/** What is reached at a station. */
export interface Listening {
  /** The process is gone: its host's kernel closes the connections, unless the host is gone as well. */
  crash(how: { silent: boolean }): void
}

/** What one direction between two stations does to what is sent. */
export interface Path {
  latencyMs: number
  jitterMs: number
  /** Shares, 0 to 1. */
  loss: number
  duplicate: number
  /** Up to this much extra delay, ms, so that later messages overtake. */
  reorderMs: number
  cut: boolean
}

/** Changes a path for as long as it is laid on the wire; null leaves it alone. */
export type Rule = (from: number, to: number) => Partial<Path> | null

/**
 * All ways between all hosts, each direction by itself. Datagrams (gossip) are lost, doubled and reordered; lanes (what a
 * TCP connection carries one way) keep their order, where loss is delay and a cut is silence until it heals.
 */
export class Wire {
  readonly scheduler: Scheduler
  readonly #random: SeededRandom
  readonly #stations = new Map<string, Station>()
  readonly #rules = new Set<Rule>()
  readonly #stalled = new Set<Lane>()
  datagrams = 0
  frames = 0

  constructor(scheduler: Scheduler, random: SeededRandom) {
    this.scheduler = scheduler
    this.#random = random
  }

  /** Messages that are held until a cut heals. */
  get held(): number {
    return this.#stalled.values().reduce((sum, lane) => sum + lane.held, 0)
  }

  station(index: number, ip: string): Station {
    const [x, y] = [this.#random.float(), this.#random.float()]
    const station: Station = { index, ip, x, y, powered: true, frozenUntil: 0, listener: null }
    this.#stations.set(ip, station)
    return station
  }

  at(ip: string): Station | undefined {
    return this.#stations.get(ip)
  }

  /** Lays a rule on the wire; what is returned takes it off. */
  lay(rule: Rule): () => void {
    this.#rules.add(rule)
    return () => {
      this.#rules.delete(rule)
      for (const lane of this.#stalled)
        if (!this.path(lane.from, lane.to).cut && lane.resume()) this.#stalled.delete(lane)
    }
  }

  path(from: Station, to: Station): Path {
    const path: Path = {
      latencyMs: latencyMinMs + spreadMs * Math.hypot(from.x - to.x, from.y - to.y),
      jitterMs: 1,
      loss: 0,
      duplicate: 0,
      reorderMs: 0,
      cut: false
    }
    for (const rule of this.#rules) {
      const change = rule(from.index, to.index)
      if (change == null) continue
      path.latencyMs += change.latencyMs ?? 0
      path.jitterMs += change.jitterMs ?? 0
      path.loss = 1 - (1 - path.loss) * (1 - (change.loss ?? 0))
      path.duplicate = Math.max(path.duplicate, change.duplicate ?? 0)
      path.reorderMs = Math.max(path.reorderMs, change.reorderMs ?? 0)
      path.cut ||= change.cut === true || path.loss >= 1
    }
    return path
  }

  /** Both directions carry. */
  connects(a: Station, b: Station): boolean {
    return a.powered && b.powered && !this.path(a, b).cut && !this.path(b, a).cut
  }

  datagram(from: Station, to: Station, arrive: () => void): void {
    const path = this.path(from, to)
    this.datagrams++
    if (path.cut || (path.loss > 0 && this.#random.chance(path.loss))) return
    const copies = path.duplicate > 0 && this.#random.chance(path.duplicate) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const extra = path.reorderMs > 0 ? this.#random.between(0, path.reorderMs) : 0
      this.arriveAfter(path.latencyMs + this.#random.between(0, path.jitterMs) + extra, to, arrive)
    }
  }

  /** Delay of one message that is sent again until it arrives. */
  reliableMs(path: Path): number {
    let ms = path.latencyMs + this.#random.between(0, path.jitterMs)
    for (let sent = 0; path.loss > 0 && this.#random.chance(path.loss); sent++) {
      ms += retransmitMs * 2 ** Math.min(sent, retransmitDoublings)
    }
    return ms
  }

  /** Runs `arrive` when it gets there and the host is awake. */
  arriveAfter(ms: number, to: Station, arrive: () => void): void {
    this.scheduler.after(ms, () => {
      const frozen = to.frozenUntil - this.scheduler.now
      if (frozen > 0) this.scheduler.after(frozen, arrive)
      else arrive()
    })
  }

  stall(lane: Lane): void {
    this.#stalled.add(lane)
  }

  forget(lane: Lane): void {
    this.#stalled.delete(lane)
  }
}

/** One direction of a TCP connection. */
export class Lane {
  readonly from: Station
  readonly to: Station
  readonly #wire: Wire
  #lastAt = 0
  #held: Array<() => void> = []

  constructor(wire: Wire, from: Station, to: Station) {
    this.#wire = wire
    this.from = from
    this.to = to
  }

  get held(): number {
    return this.#held.length
  }

  send(arrive: () => void): void {
    this.#wire.frames++
    const path = this.#wire.path(this.from, this.to)
    if (path.cut || this.#held.length > 0) this.#hold(arrive)
    else this.#carry(this.#wire.reliableMs(path), arrive)
  }

  /** The way is open again: what was held is sent anew, in order. */
  resume(): boolean {
    const held = this.#held
    this.#held = []
    for (const arrive of held)
      this.#carry(retransmitMs + this.#wire.reliableMs(this.#wire.path(this.from, this.to)), arrive)
    return true
  }

  /** Nobody is there any more at this end. */
  drop(): void {
    this.#held = []
    this.#wire.forget(this)
  }

  #carry(ms: number, arrive: () => void): void {
    const { scheduler } = this.#wire
    this.#lastAt = Math.max(this.#lastAt, scheduler.now + ms)
    this.#wire.arriveAfter(this.#lastAt - scheduler.now, this.to, () => {
      if (this.#held.length > 0 || this.#wire.path(this.from, this.to).cut) this.#hold(arrive)
      else arrive()
    })
  }

  #hold(arrive: () => void): void {
    this.#held.push(arrive)
    this.#wire.stall(this)
  }
}
