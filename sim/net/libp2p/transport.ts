import {
  ConnectionFailedError,
  serviceCapabilities,
  transportSymbol,
  type CreateListenerOptions,
  type Listener,
  type Logger,
  type Transport
} from '@libp2p/interface'
import { AbstractMultiaddrConnection } from '@libp2p/utils'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import type { Libp2pTransport } from '../../../src/mesh/libp2p-network.ts'
import type { Trace } from '../../trace.ts'
import { Lane, type Listening, type Station, type Wire } from '../wire.ts'

interface Place {
  wire: Wire
  station: Station
  trace: Trace
}

/** What libp2p has at a station: its listener, and the connections that a crash of the process ends. */
export class Libp2pStation implements Listening {
  readonly connections = new Set<WireConnection>()
  accept: ((connection: WireConnection) => void) | null = null

  crash({ silent }: { silent: boolean }): void {
    for (const connection of this.connections) connection.vanish({ silent })
    this.accept = null
  }
}

/** libp2p's way to other hosts, over a simulated wire instead of TCP. Bytes keep their order; loss is delay. */
export const wireTransport =
  (place: Place, at: Libp2pStation): Libp2pTransport =>
  (components) => {
    const log = components.logger.forComponent('libp2p:wire')
    const transport: Pick<Transport, 'dial' | 'createListener' | 'listenFilter' | 'dialFilter'> = {
      async dial(address, options) {
        const connection = await connect(place, at, address, log, options.signal)
        try {
          return await options.upgrader.upgradeOutbound(connection, options)
        } catch (error) {
          connection.abort(error as Error)
          throw error
        }
      },
      createListener: (options) => new WireListener(at, options) as unknown as Listener,
      listenFilter: (addresses) => addresses,
      dialFilter: (addresses) => addresses
    }
    const named = {
      [transportSymbol]: true,
      [serviceCapabilities]: ['@libp2p/transport'],
      [Symbol.toStringTag]: 'wire'
    }
    return Object.assign(transport, named) as unknown as Transport
  }

async function connect(
  { wire, station, trace }: Place,
  at: Libp2pStation,
  address: Multiaddr,
  log: Logger,
  signal: AbortSignal
): Promise<WireConnection> {
  signal.throwIfAborted()
  const far = wire.at(address.toString().split('/')[2] ?? '')
  // SYN and its answer.
  const ms = far == null ? 0 : wire.reliableMs(wire.path(station, far)) + wire.reliableMs(wire.path(far, station))
  const there = far?.listener
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    // What is cut off never answers, and whoever dials gives up by its own deadline.
    if (far != null && wire.connects(station, far)) wire.arriveAfter(ms, far, resolve)
  })
  if (far == null || !(there instanceof Libp2pStation) || there.accept == null || far.listener !== there)
    throw new ConnectionFailedError('connection refused (ECONNREFUSED)')
  const near = new WireConnection({
    wire,
    trace,
    from: station,
    to: far,
    held: at.connections,
    log,
    direction: 'outbound'
  })
  const remote = new WireConnection({
    wire,
    trace,
    from: far,
    to: station,
    held: there.connections,
    log,
    direction: 'inbound'
  })
  near.meet(remote)
  remote.meet(near)
  there.accept(remote)
  return near
}

class WireConnection extends AbstractMultiaddrConnection {
  readonly #lane: Lane
  readonly #trace: Trace
  readonly #held: Set<WireConnection>
  #other: WireConnection | null = null
  #over = false

  constructor(parts: {
    wire: Wire
    trace: Trace
    from: Station
    to: Station
    held: Set<WireConnection>
    log: Logger
    direction: 'inbound' | 'outbound'
  }) {
    const { wire, trace, from, to, held, log, direction } = parts
    // Its parts ask for scopes of their own, which a component's logger has.
    super({ log, direction, remoteAddr: multiaddr(`/ip4/${to.ip}/tcp/7946`) })
    this.#lane = new Lane(wire, from, to)
    this.#trace = trace
    this.#held = held
    held.add(this)
  }

  meet(other: WireConnection): void {
    this.#other = other
  }

  sendData(data: Parameters<AbstractMultiaddrConnection['sendData']>[0]): { sentBytes: number; canSendMore: boolean } {
    const bytes = data.slice()
    const other = this.#other
    this.#lane.send(() => other?.take(bytes, this.#lane))
    return { sentBytes: bytes.byteLength, canSendMore: true }
  }

  take(bytes: Uint8Array, { from, to }: Lane): void {
    if (this.#over) return
    this.#trace.frame(to.index, from.ip, bytes.byteLength)
    this.onData(bytes)
  }

  sendReset(): void {
    this.#leave((other) => {
      other.onRemoteReset()
      other.onTransportClosed()
    })
  }

  async sendClose(): Promise<void> {
    this.#leave((other) => other.onTransportClosed())
    this.onTransportClosed()
  }

  sendPause(): void {}

  sendResume(): void {}

  /** The process at this end is gone; nobody here hears of anything any more. */
  vanish({ silent }: { silent: boolean }): void {
    if (silent) this.#end()
    else this.#leave((other) => other.onTransportClosed())
    this.onTransportClosed(new Error('the process is gone'))
  }

  #leave(tell: (other: WireConnection) => void): void {
    if (this.#over) return
    this.#end()
    const other = this.#other
    this.#lane.send(() => {
      if (other == null || !other.#end()) return
      tell(other)
    })
  }

  /** False when it had ended before. */
  #end(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#held.delete(this)
    return true
  }
}

/** What libp2p asks of a listener. */
class WireListener extends EventTarget {
  readonly #at: Libp2pStation
  readonly #options: CreateListenerOptions
  readonly #closed = new AbortController()
  #address: Multiaddr | null = null

  constructor(at: Libp2pStation, options: CreateListenerOptions) {
    super()
    this.#at = at
    this.#options = options
  }

  async listen(address: Multiaddr): Promise<void> {
    this.#address = address
    this.#at.accept = (connection) => {
      const { signal } = this.#closed
      this.#options.upgrader
        .upgradeInbound(connection, { signal })
        .catch((error: unknown) => connection.abort(error as Error))
    }
    this.dispatchEvent(new Event('listening'))
  }

  getAddrs(): Multiaddr[] {
    return this.#address == null ? [] : [this.#address]
  }

  updateAnnounceAddrs(): void {}

  async close(): Promise<void> {
    this.#at.accept = null
    this.#closed.abort()
    this.dispatchEvent(new Event('close'))
  }
}
