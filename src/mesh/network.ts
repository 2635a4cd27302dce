import type { PeerId } from '../crdt/schema.ts'

/**
 * How agents talk, small enough to recite: connections proven by peer identity, message streams by protocol, topics.
 * `libp2p-network.ts` is the real one; a simulator brings its own. Peers are ids; nothing above knows sockets.
 */
export interface Network {
  readonly self: PeerId
  /** Multiaddrs this peer listens on or is told to advertise, without `/p2p/…`. */
  addresses(): string[]
  /** Connects, proving that the other end is `peer`. Rejects with UnavailableError that lists what was tried. */
  dial(peer: PeerId, addresses: string[], options: { signal: AbortSignal }): Promise<void>
  hangUp(peer: PeerId): Promise<void>
  connected(): PeerId[]
  /** Where the live connection to `peer` goes: multiaddr strings, empty when not connected. */
  remoteAddresses(peer: PeerId): string[]
  onConnect(listener: (peer: PeerId, direction: 'inbound' | 'outbound') => void): () => void
  onDisconnect(listener: (peer: PeerId) => void): () => void
  /** Somebody proved an identity that is no member's: a joiner, or one who only looks. Not in `connected()`. */
  onStranger(listener: (peer: PeerId, addresses: string[]) => void): () => void
  /** A member spoke a protocol of the network itself wrongly, and its stream was ended. */
  onMisspoken(listener: (protocol: string, error: Error) => void): () => void
  /** Membership has changed: connections made under another standing are closed, to be made anew. */
  membershipChanged(): void
  /** Opens a message stream to a connected peer. */
  open(peer: PeerId, protocol: string, options: { signal: AbortSignal }): Promise<Channel>
  /** Serves a protocol. The handler owns the channel; when it settles the channel is closed (or aborted on a throw). */
  handle(protocol: string, handler: (channel: Channel, from: PeerId) => Promise<void>): Promise<void>
  /** Best effort to subscribers. A topic has one subscriber on each peer. */
  publish(topic: string, data: Uint8Array, to: Audience): Promise<void>
  /** The same to one connected peer alone. False when it cannot be, because of its version: nothing was said. */
  tell(topic: string, data: Uint8Array, peer: PeerId): boolean
  /** `validate` runs before a message is forwarded or delivered. `from` is the peer that handed it on, not the author. */
  subscribe(
    topic: string,
    options: {
      validate: (data: Uint8Array) => 'accept' | 'ignore' | 'reject'
      deliver: (data: Uint8Array, from: PeerId) => void
      /** A connected peer can hear this topic from now on; what was published before, it has missed. */
      onSubscriber?: (peer: PeerId) => void
    }
  ): () => void
  /** Round-trip time in ms. */
  ping(peer: PeerId, options: { signal: AbortSignal }): Promise<number>
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * Whom a message is for: whoever is at the other end of a connection and hands it on to nobody, or all, who hand it on. The
 * first costs one delivery a peer, the second several.
 */
export type Audience = 'connected' | 'all'

/** A bidirectional stream of whole messages, each at most `messageBytesMax`. */
export interface Channel {
  send(message: Uint8Array): Promise<void>
  /**
   * The next message, or null when the other side has closed; RangeError when it is announced with more than `bytesMax`,
   * MisspokenError when it is cut short, TimedOutError when it is not whole within `messageWholeMs` of its beginning.
   */
  receive(options: { signal: AbortSignal; bytesMax?: number }): Promise<Uint8Array | null>
  close(): Promise<void>
  abort(reason: Error): void
}
