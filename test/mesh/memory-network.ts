import { UnavailableError } from '../../src/errors.ts'
import type { Channel, Network } from '../../src/mesh/network.ts'

type Streams = Pick<Network, 'self' | 'open' | 'handle' | 'connected' | 'onConnect' | 'onDisconnect'>

/** What a sender may have under way, bytes: beyond it `send` waits for the reader, as over a real stream. */
const WINDOW = 256 * 1024

/** Peers in one process that open streams to each other as long as they are connected. */
export class MemoryNet {
  readonly peers = new Map<string, MemoryNetwork>()
  readonly #streams = new Set<{ of: string[]; cut: () => void }>()
  readonly #apart = new Set<string>()

  peer(self: string): MemoryNetwork {
    const network = new MemoryNetwork(self, this)
    this.peers.set(self, network)
    return network
  }

  connected(a: string, b: string): boolean {
    return a !== b && !this.#apart.has([a, b].sort().join())
  }

  /** All streams between the two end; with `apart` nothing is opened until `join`. */
  cut(a: string, b: string, { apart = false } = {}): void {
    if (apart) this.#apart.add([a, b].sort().join())
    for (const { of, cut } of this.#streams) if (of.includes(a) && of.includes(b)) cut()
  }

  join(a: string, b: string): void {
    this.#apart.delete([a, b].sort().join())
    for (const [one, other] of [
      [a, b],
      [b, a]
    ] as const) {
      this.peers.get(one)?.tellConnected(other)
    }
  }

  /** Streams that are open, for tests that nothing is left. */
  get open(): number {
    return this.#streams.size
  }

  stream(from: string, to: string): [Channel, Channel] {
    const ends = [new Pipe(), new Pipe()] as const
    const stream = {
      of: [from, to],
      cut: () => {
        this.#streams.delete(stream)
        for (const pipe of ends) pipe.cut(new Error('the connection was lost'))
      }
    }
    this.#streams.add(stream)
    const channel = (out: Pipe, into: Pipe): Channel => ({
      send: (message) => out.write(message),
      receive: ({ signal }) => into.read(signal),
      close: async () => {
        out.end()
        if (ends.every(({ ended }) => ended)) this.#streams.delete(stream)
      },
      abort: (reason) => {
        this.#streams.delete(stream)
        for (const pipe of ends) pipe.cut(reason)
      }
    })
    return [channel(ends[0], ends[1]), channel(ends[1], ends[0])]
  }
}

export class MemoryNetwork implements Streams {
  readonly self: string
  readonly #net: MemoryNet
  readonly handlers = new Map<string, (channel: Channel, from: string) => Promise<void>>()
  readonly #onConnect = new Set<Parameters<Network['onConnect']>[0]>()

  constructor(self: string, net: MemoryNet) {
    this.self = self
    this.#net = net
  }

  /** As what takes a whole network: the rest is never asked for by what is tested with this one. */
  whole(): Network {
    return this as unknown as Network
  }

  async handle(protocol: string, handler: (channel: Channel, from: string) => Promise<void>): Promise<void> {
    this.handlers.set(protocol, handler)
  }

  async open(peer: string, protocol: string): Promise<Channel> {
    const handler = this.#net.peers.get(peer)?.handlers.get(protocol)
    if (handler == null || !this.#net.connected(this.self, peer)) {
      throw new UnavailableError(`peer ${peer} is not connected`)
    }
    const [here, there] = this.#net.stream(this.self, peer)
    handler(there, this.self).then(
      () => there.close(),
      (error: Error) => there.abort(error)
    )
    return here
  }

  connected(): string[] {
    return [...this.#net.peers.keys()].filter((peer) => this.#net.connected(this.self, peer))
  }

  onConnect(listener: Parameters<Network['onConnect']>[0]): () => void {
    this.#onConnect.add(listener)
    return () => void this.#onConnect.delete(listener)
  }

  /** Nothing tells it of a loss here: streams end by themselves. */
  onDisconnect(): () => void {
    return () => {}
  }

  get listeners(): number {
    return this.#onConnect.size
  }

  tellConnected(peer: string): void {
    for (const listener of this.#onConnect) listener(peer, 'outbound')
  }
}

/** One way. */
class Pipe {
  readonly #queue: Uint8Array[] = []
  #bytes = 0
  #waiting = new Set<() => void>()
  #cut: Error | null = null
  ended = false

  async write(message: Uint8Array): Promise<void> {
    if (this.#cut != null || this.ended) throw this.#cut ?? new Error('the stream was closed')
    this.#queue.push(message)
    this.#bytes += message.byteLength
    this.#wake()
    while (this.#bytes > WINDOW && this.#cut == null) await this.#change()
    if (this.#cut != null) throw this.#cut
  }

  async read(signal: AbortSignal): Promise<Uint8Array | null> {
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake)
    try {
      for (;;) {
        signal.throwIfAborted()
        if (this.#cut != null) throw this.#cut
        const message = this.#queue.shift()
        if (message != null) {
          this.#bytes -= message.byteLength
          this.#wake()
          return message
        }
        if (this.ended) return null
        await this.#change()
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  end(): void {
    this.ended = true
    this.#wake()
  }

  cut(reason: Error): void {
    this.#cut ??= reason
    this.#wake()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve))
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const resolve of waiting) resolve()
  }
}
