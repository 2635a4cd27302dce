import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../src/crdt/schema.ts'
import { streamsPerProtocolMax } from '../../src/mesh/limits.ts'
import { SimChannel } from './channel.ts'
import type { GossipMessage } from './gossip.ts'
import { Lane, type Station, type Wire } from './wire.ts'

type Frame =
  | { type: 'open'; channel: number; protocol: string }
  | { type: 'opened' | 'refused' | 'fin' | 'reset'; channel: number }
  | { type: 'data'; channel: number; bytes: Uint8Array }
  | { type: 'ping' | 'pong'; id: number }
  | { type: 'graft' | 'prune' | 'close' }

/** What an end asks of the agent that holds it. */
export interface EndOwner {
  readonly self: PeerId
  readonly station: Station
  /** Whether a stream of this protocol may be opened here, and if so, it is served. */
  accept(end: End, protocol: string, channel: () => SimChannel): boolean
  closed(end: End): void
  gossip(end: End, message: GossipMessage): void
  graft(end: End, on: boolean): void
  /** Bytes of a message that has come in, for the trace. */
  carried(end: End, bytes: number): void
}

interface Open {
  protocol: string
  own: boolean
  channel: SimChannel
}

/** One end of a connection, in the shape that the product's bookkeeping of connections takes. */
export class End {
  readonly id: string
  readonly remotePeer: { toString(): string }
  readonly remoteAddress: string
  readonly direction: 'inbound' | 'outbound'
  readonly owner: EndOwner
  readonly #wire: Wire
  readonly #lane: Lane
  readonly #channels = new Map<number, Open>()
  readonly #opening = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  readonly #pings = new Map<number, () => void>()
  #other: End | null = null
  #next: number
  /** Closed without a word: the host lost its power. */
  #silent = false
  status: 'open' | 'closed' = 'open'

  private constructor(wire: Wire, id: string, owner: EndOwner, other: EndOwner, direction: End['direction']) {
    this.#wire = wire
    this.id = id
    this.owner = owner
    this.remotePeer = { toString: () => other.self }
    this.remoteAddress = `/ip4/${other.station.ip}/tcp/7946`
    this.direction = direction
    this.#next = direction === 'outbound' ? 0 : 1
    this.#lane = new Lane(wire, owner.station, other.station)
  }

  static pair(wire: Wire, id: string, dialler: EndOwner, listener: EndOwner): [End, End] {
    const near = new End(wire, `${id}>`, dialler, listener, 'outbound')
    const far = new End(wire, `${id}<`, listener, dialler, 'inbound')
    near.#other = far
    far.#other = near
    return [near, far]
  }

  /** As libp2p's, for the bookkeeping that is typed by it. */
  get connection(): Connection {
    return this as unknown as Connection
  }

  get peer(): PeerId {
    return this.remotePeer.toString()
  }

  get openChannels(): number {
    return this.#channels.size
  }

  async close(): Promise<void> {
    // Whoever closes may be walking over the connections.
    await Promise.resolve()
    this.abort()
  }

  abort(): void {
    if (this.status === 'closed') return
    this.#send({ type: 'close' })
    this.#close()
  }

  /** The agent is gone and hears nothing any more; its host's kernel says so, unless the host is gone as well. */
  vanish({ silent }: { silent: boolean }): void {
    if (this.status === 'closed') return
    if (!silent) this.#send({ type: 'close' })
    this.#silent = silent
    this.status = 'closed'
    if (silent) this.#lane.drop()
  }

  async open(protocol: string, { signal }: { signal: AbortSignal }): Promise<SimChannel> {
    if (this.status === 'closed') throw new Error('the connection is closed')
    const held = this.#channels.values().filter((one) => one.own && one.protocol === protocol)
    if ([...held].length >= streamsPerProtocolMax) throw new Error(`too many streams of ${protocol} are open`)
    const id = this.#next
    this.#next += 2
    const channel = this.#channel(id)
    this.#channels.set(id, { protocol, own: true, channel })
    const answer = new Promise<void>((resolve, reject) => this.#opening.set(id, { resolve, reject }))
    const abort = (): void => this.#opening.get(id)?.reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    try {
      this.#send({ type: 'open', channel: id, protocol })
      await answer
      return channel
    } catch (error) {
      this.#channels.delete(id)
      throw error
    } finally {
      this.#opening.delete(id)
      signal.removeEventListener('abort', abort)
    }
  }

  async ping({ signal }: { signal: AbortSignal }): Promise<void> {
    if (this.status === 'closed') throw new Error('the connection is closed')
    const id = this.#next
    this.#next += 2
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const abort = (): void => reject(signal.reason as Error)
    this.#pings.set(id, resolve)
    signal.addEventListener('abort', abort, { once: true })
    try {
      this.#send({ type: 'ping', id })
      await promise
    } finally {
      this.#pings.delete(id)
      signal.removeEventListener('abort', abort)
    }
  }

  gossip(message: GossipMessage): void {
    const other = this.#other
    if (other == null || this.status === 'closed') return
    this.#wire.datagram(this.owner.station, other.owner.station, () => {
      if (other.status === 'open') other.owner.gossip(other, message)
    })
  }

  graft(on: boolean): void {
    if (this.status === 'open') this.#send({ type: on ? 'graft' : 'prune' })
  }

  #send(frame: Frame): void {
    const other = this.#other
    if (other != null) this.#lane.send(() => other.#arrived(frame))
  }

  #arrived(frame: Frame): void {
    if (this.status === 'closed') {
      // What knows nothing of a connection resets it; a host without power says nothing.
      if (this.#silent && !this.owner.station.powered) return
      if (frame.type !== 'close') this.#send({ type: 'close' })
      return
    }
    switch (frame.type) {
      case 'close':
        return this.#close()
      case 'ping':
        return this.#send({ type: 'pong', id: frame.id })
      case 'pong':
        return this.#pings.get(frame.id)?.()
      case 'graft':
      case 'prune':
        return this.owner.graft(this, frame.type === 'graft')
      case 'open':
        return this.#serve(frame.channel, frame.protocol)
      case 'opened':
        return this.#opening.get(frame.channel)?.resolve()
      case 'refused':
        return this.#opening.get(frame.channel)?.reject(new Error('the stream was refused'))
      case 'data':
        this.owner.carried(this, frame.bytes.byteLength)
        return this.#channels.get(frame.channel)?.channel.arrived(frame.bytes)
      case 'fin':
        this.#channels.get(frame.channel)?.channel.end()
        return this.#tidy(frame.channel)
      case 'reset':
        this.#channels.get(frame.channel)?.channel.fail(new Error('the stream was reset'))
        return this.#tidy(frame.channel)
    }
  }

  #serve(id: number, protocol: string): void {
    const held = [...this.#channels.values()].filter((one) => !one.own && one.protocol === protocol).length
    const channel = (): SimChannel => {
      const made = this.#channel(id)
      this.#channels.set(id, { protocol, own: false, channel: made })
      return made
    }
    const accepted = held < streamsPerProtocolMax && this.owner.accept(this, protocol, channel)
    if (this.status === 'open') this.#send({ type: accepted ? 'opened' : 'refused', channel: id })
  }

  #channel(id: number): SimChannel {
    return new SimChannel((what) => {
      if (this.status === 'closed') return
      if (typeof what === 'string') this.#send({ type: what, channel: id })
      else this.#send({ type: 'data', channel: id, bytes: what })
      if (what === 'reset') this.#channels.delete(id)
      else if (what === 'fin') queueMicrotask(() => this.#tidy(id))
    })
  }

  #tidy(id: number): void {
    if (this.#channels.get(id)?.channel.over === true) this.#channels.delete(id)
  }

  #close(): void {
    this.status = 'closed'
    const gone = new Error('the connection was closed')
    for (const { reject } of this.#opening.values()) reject(gone)
    for (const { channel } of this.#channels.values()) channel.fail(gone)
    this.#channels.clear()
    this.owner.closed(this)
  }
}
