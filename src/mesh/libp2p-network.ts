import type { GossipSub, GossipsubMessage, SubscriptionChangeData } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p, PrivateKey, Stream, StreamHandler } from '@libp2p/interface'
import { noise, type ICryptoInterface } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import type { Clock } from '../clock.ts'
import type { PeerId } from '../crdt/schema.ts'
import { NotInClusterError, UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { deadline } from './deadline.ts'
import { streamChannel } from './libp2p/channel.ts'
import { Connections, type Link } from './libp2p/connections.ts'
import { dialFirst } from './libp2p/dial.ts'
import { Doorkeeper, type Membership } from './libp2p/doorkeeper.ts'
import { memberGossip } from './libp2p/gossip-service.ts'
import { spareIdleWork } from './libp2p/idle-work.ts'
import { letIn } from './libp2p/let-in.ts'
import { dialable, listenError, parseListen } from './libp2p/listen.ts'
import { libp2pLog } from './libp2p/libp2p-log.ts'
import { NEAR_PROTOCOL, NearStreams } from './libp2p/near.ts'
import { noiseCrypto } from './libp2p/noise-crypto.ts'
import { boundedNegotiation, negotiatingMuxer } from './libp2p/negotiation.ts'
import { Pings } from './libp2p/pings.ts'
import { goStraightThrough } from './libp2p/straight-through.ts'
import { unremembered } from './libp2p/unremembered.ts'
import { grantWindowsByHalves } from './libp2p/window-updates.ts'
import * as limits from './limits.ts'
import type { Audience, Channel, Network } from './network.ts'
import { QuietLog } from './quiet-log.ts'

export interface Libp2pNetworkOptions {
  privateKey: PrivateKey
  /** Multiaddrs to listen on, `/ip4/0.0.0.0/tcp/7946`. */
  listen: string[]
  /** Hosts that others should dial instead of what is listened on. */
  advertise: string[]
  /** Which of its addresses (multiaddrs) others are told; left out: all. Asked together with the host, whose devices come and go. */
  told?: (addresses: string[]) => string[]
  membership: Membership
  /** Protocols that a peer which is no member may speak. */
  openProtocols: readonly string[]
  version: string
  clock: Clock
  log: Logger
  /** Left out: TCP. */
  transport?: Libp2pTransport
  /** What noise computes with. Left out: {@link noiseCrypto}. */
  crypto?: ICryptoInterface
}

/** How libp2p makes connections; what a simulation replaces. */
export type Libp2pTransport = NonNullable<Libp2pOptions['transports']>[number]

const PING_PROTOCOL = '/arctic/ping/1.0.0'

/** {@link Network} over libp2p: TCP, noise, yamux, gossipsub. Who may do what is decided by membership alone. */
export class Libp2pNetwork implements Network {
  readonly self: PeerId
  readonly #options: Libp2pNetworkOptions
  readonly #node: Libp2p
  readonly #gossip: ReturnType<typeof memberGossip>
  readonly #pubsub: GossipSub
  readonly #connections: Connections
  readonly #near: NearStreams
  readonly #doorkeeper: Doorkeeper
  readonly #quiet: QuietLog
  readonly #pings: Pings
  readonly #dials = new Map<PeerId, Promise<void>>()
  /** Where this peer is reached, as the host said last. */
  #known: { addresses: readonly string[]; at: number } | null = null
  readonly #topics = new Map<string, Parameters<Network['subscribe']>[1]>()
  readonly #onConnect = new Set<Parameters<Network['onConnect']>[0]>()
  readonly #onDisconnect = new Set<Parameters<Network['onDisconnect']>[0]>()
  readonly #onStranger = new Set<Parameters<Network['onStranger']>[0]>()
  readonly #onMisspoken = new Set<Parameters<Network['onMisspoken']>[0]>()

  /** Nothing is opened before `start`. InvalidRequestError for a listen address that is none. */
  static async create(options: Libp2pNetworkOptions): Promise<Libp2pNetwork> {
    const listen = options.listen.map((address) => parseListen(address).toString())
    const quiet = new QuietLog(options.clock, options.log.module('mesh:network'))
    const doorkeeper = new Doorkeeper(options.membership, quiet)
    grantWindowsByHalves()
    spareIdleWork()
    goStraightThrough()
    let network: Libp2pNetwork | null = null
    const gossip = memberGossip((handler) => (stream, connection) => network?.membersOnly(handler)(stream, connection))
    const node = await createLibp2p({
      start: false,
      privateKey: options.privateKey,
      logger: libp2pLog(process.env),
      nodeInfo: { name: 'arctic', version: options.version, userAgent: `arctic/${options.version}` },
      addresses: { listen },
      transports: [options.transport ?? tcp({ maxConnections: limits.connectionsMax })],
      connectionEncrypters: [noise({ crypto: options.crypto ?? noiseCrypto })],
      streamMuxers: [
        negotiatingMuxer(
          yamux({
            maxInboundStreams: limits.streamsPerConnectionMax,
            maxOutboundStreams: limits.streamsPerConnectionMax,
            streamOptions: { maxStreamWindowSize: limits.streamWindowBytesMax }
          }),
          options.clock
        )
      ],
      connectionManager: {
        maxConnections: limits.connectionsMax,
        maxIncomingPendingConnections: limits.unprovenMax,
        inboundConnectionThreshold: limits.inboundPerHostPerSecondMax,
        inboundUpgradeTimeout: limits.handshakeTimeoutMs,
        inboundStreamProtocolNegotiationTimeout: limits.openTimeoutMs,
        outboundStreamProtocolNegotiationTimeout: limits.openTimeoutMs,
        reconnectRetries: 0
      },
      // Presence notices a dead peer sooner than libp2p's monitor, and asks the strangers nothing.
      connectionMonitor: { enabled: false },
      connectionGater: doorkeeper.gater,
      services: {
        negotiation: boundedNegotiation,
        unremembered,
        // gossipsub insists on it; connections are announced to gossipsub by us, so nobody is ever asked.
        identify: identify({ runOnConnectionOpen: false }),
        pubsub: gossip.service
      }
    })
    network = new Libp2pNetwork(options, node, node.services.pubsub, gossip, doorkeeper, quiet)
    return network
  }

  private constructor(
    options: Libp2pNetworkOptions,
    node: Libp2p,
    pubsub: GossipSub,
    gossip: ReturnType<typeof memberGossip>,
    doorkeeper: Doorkeeper,
    quiet: QuietLog
  ) {
    this.self = node.peerId.toString()
    this.#options = options
    this.#node = node
    this.#pubsub = pubsub
    this.#gossip = gossip
    this.#doorkeeper = doorkeeper
    this.#quiet = quiet
    this.#pings = new Pings(options.clock)
    this.#near = new NearStreams(options.clock, {
      onHearer: (peer) => this.#hearer(peer),
      // What it listens to by gossip may have been told before it was known that it hears nothing else.
      onDeaf: (peer) => this.#hearer(peer),
      hear: (topic, data, from) => this.#hear(topic, data, from),
      onMisspoken: (error) => {
        for (const listener of this.#onMisspoken) listener('near', error)
      }
    })
    this.#connections = new Connections({
      self: this.self,
      clock: options.clock,
      isMember: (peer) => options.membership.isMember(peer),
      events: {
        onMember: (link) => {
          this.#gossip.registrar().connected(link.connection)
          this.#near.connect(link)
          for (const listener of this.#onConnect) listener(link.peer, link.direction)
        },
        onMemberGone: (peer) => {
          this.#near.disconnected(peer)
          for (const listener of this.#onDisconnect) listener(peer)
        },
        onStranger: (link) => {
          for (const listener of this.#onStranger) listener(link.peer, [addressOf(link)])
        },
        onMoved: (link) => {
          void this.#gossip.registrar().repair(link.connection)
          this.#near.connect(link)
        },
        onUpkeep: (link) => {
          const young = options.clock.monotonic() - link.openedAt < limits.upkeepMs
          if (young) return
          void this.#gossip.registrar().repair(link.connection)
          this.#near.connect(link)
        }
      }
    })
  }

  async start(): Promise<void> {
    this.#node.addEventListener('connection:open', this.#opened)
    this.#node.addEventListener('connection:close', this.#closed)
    this.#pubsub.addEventListener('gossipsub:message', this.#deliver)
    this.#pubsub.addEventListener('subscription-change', this.#subscribed)
    try {
      await this.#node.start()
    } catch (error) {
      await this.stop()
      throw listenError(error, this.#options.listen)
    }
    this.#known = null
    this.#connections.start()
    await this.handle(PING_PROTOCOL, (channel) => this.#pings.echo(channel))
    const near = this.membersOnly((stream, { remotePeer }) => this.#near.serve(stream, remotePeer.toString()))
    await this.#node.handle(NEAR_PROTOCOL, near, { maxInboundStreams: limits.nearStreamsMax })
  }

  async stop(): Promise<void> {
    this.#connections.stop()
    this.#near.stop()
    for (const topic of this.#topics.keys()) this.#unsubscribe(topic)
    await this.#node.stop()
    this.#node.removeEventListener('connection:open', this.#opened)
    this.#node.removeEventListener('connection:close', this.#closed)
    this.#pubsub.removeEventListener('gossipsub:message', this.#deliver)
    this.#pubsub.removeEventListener('subscription-change', this.#subscribed)
  }

  addresses(): string[] {
    const now = this.#options.clock.monotonic()
    if (this.#known != null && now - this.#known.at < limits.addressesKnownMs) return [...this.#known.addresses]
    const bound = this.#node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*$/, ''))
    const all = dialable(bound, this.#options.advertise)
    const addresses = this.#options.told?.(all) ?? all
    this.#known = { addresses, at: now }
    return [...addresses]
  }

  /** Connections that the doorkeeper counts, for metrics and tests. */
  counts(): { unproven: number; strangers: number; members: number } {
    return { ...this.#doorkeeper.counts(), members: this.connected().length }
  }

  async dial(peer: PeerId, addresses: string[], { signal }: { signal: AbortSignal }): Promise<void> {
    // Dials to one peer at a time: another one may bring the connection, or had the wrong addresses.
    for (let other = this.#dials.get(peer); other != null; other = this.#dials.get(peer)) {
      await other.catch(() => {})
      signal.throwIfAborted()
    }
    const dial = this.#dial(peer, addresses, signal).finally(() => this.#dials.delete(peer))
    this.#dials.set(peer, dial)
    await dial
  }

  async #dial(peer: PeerId, addresses: string[], signal: AbortSignal): Promise<void> {
    const isThere = (): boolean => this.#connections.best(peer) != null
    const isProving = (host: string): boolean => this.#doorkeeper.isProving(host)
    await letIn(addresses, { isProving, isThere, clock: this.#options.clock, signal })
    if (isThere()) return
    await dialFirst(peer, addresses, {
      clock: this.#options.clock,
      signal,
      connect: (address, attempt) => this.#connect(peer, address, attempt)
    })
  }

  async #connect(peer: PeerId, address: Multiaddr, signal: AbortSignal): Promise<void> {
    const connection = await this.#node.dial(address, { signal, force: true })
    const link = this.#connections.find(connection)
    if (connection.remotePeer.toString() !== peer) {
      if (link != null) await this.#connections.close(link)
      throw new UnavailableError(`another peer answers there, ${connection.remotePeer.toString()}`)
    }
    if (signal.aborted && link != null) {
      await this.#connections.close(link)
      throw signal.reason
    }
  }

  async hangUp(peer: PeerId): Promise<void> {
    await this.#connections.hangUp(peer)
  }

  connected(): PeerId[] {
    return this.#connections.members()
  }

  remoteAddresses(peer: PeerId): string[] {
    const link = this.#connections.any(peer)
    return link == null ? [] : [addressOf(link)]
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

  onMisspoken(listener: Parameters<Network['onMisspoken']>[0]): () => void {
    return add(this.#onMisspoken, listener)
  }

  membershipChanged(): void {
    this.#connections.evaluate()
  }

  async open(peer: PeerId, protocol: string, { signal }: { signal: AbortSignal }): Promise<Channel> {
    const open = this.#options.openProtocols.includes(protocol)
    const link = open ? this.#connections.any(peer) : this.#connections.best(peer)
    if (link == null)
      throw new UnavailableError(`peer ${peer} is not connected; it is redialled until it answers`, { peer })
    using limit = deadline(this.#options.clock, limits.openTimeoutMs, { signal })
    let stream: Stream
    try {
      stream = await link.connection.newStream(protocol, {
        signal: limit.signal,
        maxOutboundStreams: limits.streamsPerProtocolMax
      })
    } catch (error) {
      signal.throwIfAborted()
      throw new UnavailableError(
        `peer ${peer} does not answer to ${protocol}; it may be of another version, or does not know this peer yet`,
        { peer, protocol },
        { cause: error }
      )
    }
    return streamChannel(stream, this.#options.clock)
  }

  async handle(protocol: string, handler: (channel: Channel, from: PeerId) => Promise<void>): Promise<void> {
    const serve: StreamHandler = async (stream, connection) => {
      const channel = streamChannel(stream, this.#options.clock)
      const link = this.#connections.find(connection)
      const open = this.#options.openProtocols.includes(protocol)
      if (open && link != null) link.busy = true
      try {
        await handler(channel, connection.remotePeer.toString())
        await channel.close()
      } catch (error) {
        this.#options.log.module('mesh:network').debug({ protocol, error, peer: link?.peer }, 'a stream ended early')
        channel.abort(error as Error)
      } finally {
        if (open && link != null) link.busy = false
      }
    }
    const gated = this.#options.openProtocols.includes(protocol) ? serve : this.membersOnly(serve)
    await this.#node.handle(protocol, gated, {
      maxInboundStreams: limits.streamsPerProtocolMax,
      maxOutboundStreams: limits.streamsPerProtocolMax
    })
  }

  async publish(topic: string, data: Uint8Array, to: Audience): Promise<void> {
    if (to === 'connected' && this.#canAllHear()) this.#near.say(topic, data, this.connected())
    else await this.#pubsub.publish(topic, data)
  }

  tell(topic: string, data: Uint8Array, peer: PeerId): boolean {
    if (!this.#near.hears(peer)) return false
    this.#near.say(topic, data, [peer])
    return true
  }

  subscribe(topic: string, options: Parameters<Network['subscribe']>[1]): () => void {
    if (this.#topics.has(topic)) throw new RangeError(`topic ${topic} has a subscriber`)
    this.#topics.set(topic, options)
    this.#pubsub.topicValidators.set(topic, (_from, message) => options.validate(message.data) as never)
    this.#pubsub.subscribe(topic)
    return () => this.#unsubscribe(topic)
  }

  async ping(peer: PeerId, { signal }: { signal: AbortSignal }): Promise<number> {
    const connection = this.#connections.best(peer)?.connection ?? this.#connections
    return this.#pings.ping(connection, () => this.open(peer, PING_PROTOCOL, { signal }), { signal })
  }

  /**
   * Lets members' streams through. A stranger may be a member that is not known here yet, so it is not cut off at once:
   * it can introduce itself by the open protocol, and dials anew when its standing has changed.
   */
  membersOnly(handler: StreamHandler): StreamHandler {
    return async (stream, connection) => {
      const link = this.#connections.find(connection)
      if (link?.standing === 'member') return handler(stream, connection)
      const peer = connection.remotePeer.toString()
      this.#quiet.info('a peer that is not a member tried a protocol for members', { peer, protocol: stream.protocol })
      stream.abort(new NotInClusterError())
      if (link == null || ++link.tries > limits.strangerTriesMax) connection.abort(new NotInClusterError())
    }
  }

  #unsubscribe(topic: string): void {
    if (!this.#topics.delete(topic)) return
    this.#pubsub.topicValidators.delete(topic)
    if (this.#node.status === 'started') this.#pubsub.unsubscribe(topic)
  }

  #hear(topic: string, data: Uint8Array, from: PeerId): boolean {
    const options = this.#topics.get(topic)
    const verdict = options?.validate(data) ?? 'ignore'
    if (verdict === 'accept') options?.deliver(data, from)
    return verdict !== 'reject'
  }

  #hearer(peer: PeerId): void {
    for (const { onSubscriber } of this.#topics.values()) onSubscriber?.(peer)
  }

  #canAllHear(): boolean {
    return this.connected().every((peer) => this.#near.hears(peer) || this.#isNew(peer))
  }

  /** Its stream is still on its way, and nobody else could tell it sooner. */
  #isNew(peer: PeerId): boolean {
    const openedAt = this.#connections.best(peer)?.openedAt ?? -Infinity
    return this.#options.clock.monotonic() - openedAt < limits.apartMs
  }

  readonly #opened = (event: CustomEvent<Connection>): void => this.#connections.opened(event.detail)

  readonly #closed = (event: CustomEvent<Connection>): void => {
    const connection = event.detail
    this.#connections.closed(connection)
    if (this.#connections.any(connection.remotePeer.toString()) != null) return
    this.#gossip.registrar().disconnected(connection)
  }

  readonly #subscribed = (event: CustomEvent<SubscriptionChangeData>): void => {
    const peer = event.detail.peerId.toString()
    // Who hears what is said to it alone has been greeted, or will be in a moment.
    if (!this.#near.isDeaf(peer)) return
    for (const { topic, subscribe } of event.detail.subscriptions) {
      if (subscribe) this.#topics.get(topic)?.onSubscriber?.(peer)
    }
  }

  readonly #deliver = (event: CustomEvent<GossipsubMessage>): void => {
    const { msg, propagationSource } = event.detail
    this.#topics.get(msg.topic)?.deliver(msg.data, propagationSource.toString())
  }
}

const addressOf = (link: Link): string => link.connection.remoteAddr.toString().replace(/\/p2p\/.*$/, '')

function add<T>(set: Set<T>, listener: T): () => void {
  set.add(listener)
  return () => void set.delete(listener)
}
