import type { Clock, Timer } from '../../src/clock.ts'
import type { PeerId } from '../../src/crdt/schema.ts'
import { UnavailableError } from '../../src/errors.ts'
import { deadline } from '../../src/mesh/deadline.ts'
import { Connections, type Link } from '../../src/mesh/libp2p/connections.ts'
import type { Membership } from '../../src/mesh/libp2p/doorkeeper.ts'
import { openTimeoutMs, strangersMax, strangerTriesMax } from '../../src/mesh/limits.ts'
import type { Audience, Channel, Network } from '../../src/mesh/network.ts'
import { dialTimeoutMs, gossipHeartbeatMs, synAtMs } from '../limits.ts'
import type { SeededRandom } from '../random.ts'
import type { Trace } from '../trace.ts'
import type { SimChannel } from './channel.ts'
import { End, type EndOwner } from './end.ts'
import { Overlay, type GossipMessage } from './gossip.ts'
import type { HostNetwork } from './host-network.ts'
import type { Listening, Station, Wire } from './wire.ts'

export interface SimNetworkParts {
  self: PeerId
  station: Station
  wire: Wire
  clock: Clock
  random: SeededRandom
  trace: Trace
  membership: Membership
  openProtocols: readonly string[]
}

/**
 * The product's {@link Network} over a simulated wire, without libp2p. Who may connect, which of two connections stays and
 * when a standing has changed is decided by the product's own bookkeeping; this here only brings bytes from end to end.
 */
export class SimNetwork implements HostNetwork, EndOwner, Listening {
  readonly self: PeerId
  readonly station: Station
  readonly #parts: SimNetworkParts
  readonly #connections: Connections
  readonly #overlay: Overlay
  readonly #members = new Map<PeerId, End>()
  readonly #ends = new Set<End>()
  readonly #dials = new Map<PeerId, Promise<void>>()
  readonly #handlers = new Map<string, (channel: Channel, from: PeerId) => Promise<void>>()
  readonly #onConnect = new Set<Parameters<Network['onConnect']>[0]>()
  readonly #onDisconnect = new Set<Parameters<Network['onDisconnect']>[0]>()
  readonly #onStranger = new Set<Parameters<Network['onStranger']>[0]>()
  #heartbeat: Timer | null = null
  #dialled = 0
  #connected: PeerId[] | null = null

  constructor(parts: SimNetworkParts) {
    this.#parts = parts
    this.self = parts.self
    this.station = parts.station
    this.#overlay = new Overlay({
      ends: () => this.#members.values(),
      endOf: (peer) => this.#members.get(peer),
      random: parts.random,
      now: () => parts.clock.monotonic(),
      onDeliver: (message, from) => parts.trace.gossip(this.station.index, message, from)
    })
    this.#connections = new Connections({
      self: this.self,
      clock: parts.clock,
      isMember: (peer) => parts.membership.isMember(peer),
      events: {
        onMember: (link) => {
          this.#carry(link)
          this.#overlay.connected(endOf(link))
          for (const listener of this.#onConnect) listener(link.peer, link.direction)
        },
        onMemberGone: (peer) => {
          this.#members.delete(peer)
          this.#connected = null
          this.#overlay.disconnected(peer)
          for (const listener of this.#onDisconnect) listener(peer)
        },
        onStranger: (link) => {
          for (const listener of this.#onStranger) listener(link.peer, [endOf(link).remoteAddress])
        },
        onMoved: (link) => this.#carry(link),
        onUpkeep: (link) => this.#carry(link)
      }
    })
  }

  async start(): Promise<void> {
    this.station.listener = this
    this.#connections.start()
    this.#heartbeat = this.#parts.clock.every(gossipHeartbeatMs, () => this.#overlay.heartbeat())
  }

  async stop(): Promise<void> {
    this.station.listener = null
    this.#connections.stop()
    this.#heartbeat?.cancel()
    this.#overlay.clear()
    for (const end of this.#ends) end.abort()
    this.#handlers.clear()
  }

  crash({ silent }: { silent: boolean }): void {
    this.station.listener = null
    for (const end of this.#ends) end.vanish({ silent })
    this.#ends.clear()
  }

  /** What is still held or listened to; nothing of it may be left after `stop`. */
  leftovers(): Record<string, number> {
    return {
      listeners: this.#onConnect.size + this.#onDisconnect.size + this.#onStranger.size,
      topics: this.#overlay.topics,
      connections: this.#ends.size
    }
  }

  /** What grows with load; for the checker of bounds. */
  load(): { channels: number; connections: number; remembered: number } {
    let channels = 0
    for (const end of this.#ends) channels += end.openChannels
    return { channels, connections: this.#ends.size, remembered: this.#overlay.remembered }
  }

  addresses(): string[] {
    return [`/ip4/${this.station.ip}/tcp/7946`]
  }

  async dial(peer: PeerId, addresses: string[], { signal }: { signal: AbortSignal }): Promise<void> {
    for (let other = this.#dials.get(peer); other != null; other = this.#dials.get(peer)) {
      await other.catch(() => {})
      signal.throwIfAborted()
    }
    if (this.#connections.best(peer) != null) return
    const dial = this.#dial(peer, addresses, signal).finally(() => this.#dials.delete(peer))
    this.#dials.set(peer, dial)
    await dial
  }

  async hangUp(peer: PeerId): Promise<void> {
    await this.#connections.hangUp(peer)
  }

  connected(): PeerId[] {
    this.#connected ??= [...this.#members.keys()]
    return this.#connected
  }

  remoteAddresses(peer: PeerId): string[] {
    const link = this.#connections.any(peer)
    return link == null ? [] : [endOf(link).remoteAddress]
  }

  onConnect(listener: Parameters<Network['onConnect']>[0]): () => void {
    return add(this.#onConnect, listener)
  }

  onDisconnect(listener: Parameters<Network['onDisconnect']>[0]): () => void {
    return add(this.#onDisconnect, listener)
  }

  onStranger(listener: Parameters<Network['onStranger']>[0]): () => void {
    return add(this.#onStranger, listener)
  }

  /** Its messages are whole: there is nothing between two of them to speak wrongly. */
  onMisspoken(): () => void {
    return () => {}
  }

  membershipChanged(): void {
    this.#connections.evaluate()
  }

  async open(peer: PeerId, protocol: string, { signal }: { signal: AbortSignal }): Promise<Channel> {
    const any = this.#parts.openProtocols.includes(protocol)
    const link = any ? this.#connections.any(peer) : this.#connections.best(peer)
    if (link == null) throw new UnavailableError(`peer ${peer} is not connected`, { peer })
    using limit = deadline(this.#parts.clock, openTimeoutMs, { signal })
    try {
      return await endOf(link).open(protocol, { signal: limit.signal })
    } catch (error) {
      signal.throwIfAborted()
      throw new UnavailableError(`peer ${peer} does not answer to ${protocol}`, { peer, protocol }, { cause: error })
    }
  }

  async handle(protocol: string, handler: (channel: Channel, from: PeerId) => Promise<void>): Promise<void> {
    this.#handlers.set(protocol, handler)
  }

  async publish(topic: string, data: Uint8Array, to: Audience): Promise<void> {
    this.#overlay.publish(topic, data, to)
  }

  tell(topic: string, data: Uint8Array, peer: PeerId): boolean {
    return this.#overlay.tell(topic, data, peer)
  }

  subscribe(topic: string, options: Parameters<Network['subscribe']>[1]): () => void {
    return this.#overlay.subscribe(topic, options)
  }

  async ping(peer: PeerId, { signal }: { signal: AbortSignal }): Promise<number> {
    const link = this.#connections.best(peer)
    if (link == null) throw new UnavailableError(`peer ${peer} is not connected`, { peer })
    const sentAt = this.#parts.clock.monotonic()
    await endOf(link).ping({ signal })
    return this.#parts.clock.monotonic() - sentAt
  }

  // ── what the ends ask ──

  accept(end: End, protocol: string, channel: () => SimChannel): boolean {
    const handler = this.#handlers.get(protocol)
    const link = this.#connections.find(end.connection)
    if (handler == null || link == null) return false
    const any = this.#parts.openProtocols.includes(protocol)
    if (!any && link.standing !== 'member') {
      if (++link.tries > strangerTriesMax) void end.close()
      return false
    }
    void this.#serve(handler, channel(), link, any)
    return true
  }

  closed(end: End): void {
    this.#ends.delete(end)
    this.#connections.closed(end.connection)
  }

  gossip(end: End, message: GossipMessage): void {
    if (this.#connections.find(end.connection)?.standing === 'member') this.#overlay.arrived(end, message)
  }

  graft(end: End, on: boolean): void {
    if (this.#members.has(end.peer)) this.#overlay.grafted(end, on)
  }

  carried(end: End, bytes: number): void {
    this.#parts.trace.frame(this.station.index, end.peer, bytes)
  }

  /** The doorkeeper's rules: members always, strangers only into a cluster and not too many. Null when refused. */
  admit(from: EndOwner, id: string): [near: End, far: End] | null {
    const { membership, wire } = this.#parts
    if (!membership.isMember(from.self)) {
      const strangers = this.#ends.values().filter((end) => !membership.isMember(end.peer))
      if (!membership.inCluster() || [...strangers].length >= strangersMax) return null
    }
    const pair = End.pair(wire, id, from, this)
    this.#opened(pair[1])
    return pair
  }

  #opened(end: End): void {
    this.#ends.add(end)
    this.#connections.opened(end.connection)
  }

  async #serve(
    handler: (channel: Channel, from: PeerId) => Promise<void>,
    channel: SimChannel,
    link: Link,
    any: boolean
  ): Promise<void> {
    if (any) link.busy = true
    try {
      await handler(channel, link.peer)
      await channel.close()
    } catch (error) {
      channel.abort(error as Error)
    } finally {
      if (any) link.busy = false
    }
  }

  async #dial(peer: PeerId, addresses: string[], signal: AbortSignal): Promise<void> {
    const tried: string[] = []
    for (const address of addresses) {
      try {
        const end = await this.#connect(address, signal)
        if (end.peer === peer) return
        await end.close()
        tried.push(`${address}: another peer answers there, ${end.peer}`)
      } catch (error) {
        signal.throwIfAborted()
        tried.push(`${address}: ${(error as Error).message}`)
      }
    }
    throw new UnavailableError(`peer ${peer} cannot be reached (${tried.join('; ')})`, { peer, tried })
  }

  async #connect(address: string, signal: AbortSignal): Promise<End> {
    const { wire, clock } = this.#parts
    const far = wire.at(address.split('/')[2] ?? '')
    let waited = 0
    for (const at of synAtMs) {
      await clock.sleep(at - waited, { signal })
      waited = at
      if (far == null || !wire.connects(this.station, far)) continue
      // TCP and noise: three times there and back.
      const [out, back] = [wire.path(this.station, far), wire.path(far, this.station)]
      let ms = 0
      for (let i = 0; i < 3; i++) ms += wire.reliableMs(out) + wire.reliableMs(back)
      const awake = far.frozenUntil - wire.scheduler.now
      const total = Math.max(awake, 0) + ms
      if (waited + total > dialTimeoutMs) break
      await clock.sleep(total, { signal })
      waited += total
      if (!wire.connects(this.station, far)) break
      const there = far.listener
      const pair = there instanceof SimNetwork ? there.admit(this, `${this.station.index}.${this.#dialled++}`) : null
      if (pair == null) throw new Error(far.listener == null ? 'connection refused' : 'the other end hung up')
      this.#opened(pair[0])
      return pair[0]
    }
    await clock.sleep(Math.max(0, dialTimeoutMs - waited), { signal })
    throw new Error('timed out')
  }

  /** A member's gossip goes over its best connection. */
  #carry(link: Link): void {
    const end = endOf(this.#connections.best(link.peer) ?? link)
    if (!this.#members.has(link.peer)) this.#connected = null
    this.#members.set(link.peer, end)
  }
}

const endOf = (link: Link): End => link.connection as unknown as End

function add<T>(set: Set<T>, listener: T): () => void {
  set.add(listener)
  return () => void set.delete(listener)
}
