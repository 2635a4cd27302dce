import { hash as digest } from 'node:crypto'
import { gossipsub, StrictNoSign, type GossipSub, type GossipSubComponents } from '@libp2p/gossipsub'
import type { Connection, StreamHandler, StreamHandlerOptions, Topology } from '@libp2p/interface'
import { gossipBacklogBytesMax, gossipSeenMs, gossipTopicBytesPerPeerMax, messageBytesMax } from '../limits.ts'

/** Of each message gossipsub asks for it twice. */
const hashes = new WeakMap<Uint8Array, Uint8Array>()

function contentHash(data: Uint8Array): Uint8Array {
  let hash = hashes.get(data)
  if (hash == null) hashes.set(data, (hash = digest('sha256', data, 'buffer')))
  return hash
}

type Registrar = GossipSubComponents['registrar']

/** gossipsub that hears of members only, and of them only from us: see {@link MembersOnlyRegistrar}. */
export function memberGossip(gate: (handler: StreamHandler) => StreamHandler): {
  service: (components: GossipSubComponents) => GossipSub
  registrar: () => MembersOnlyRegistrar
} {
  let registrar: MembersOnlyRegistrar | null = null
  const create = gossipsub({
    // Our messages carry their author's signature themselves; a second one by libp2p would cost 0.8 ms per delivery.
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: ({ data }) => contentHash(data),
    fastMsgIdFn: ({ data }) => Buffer.from(contentHash(data ?? new Uint8Array())).toString('latin1'),
    msgIdToStrFn: (id) => Buffer.from(id).toString('latin1'),
    floodPublish: true,
    fallbackToFloodsub: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    // Sites of many members share one address, and members are known by key: no penalty for it.
    scoreParams: { IPColocationFactorWeight: 0 },
    // To tell others what they need not send costs more than what they send, which is small.
    idontwantMinDataSize: messageBytesMax,
    seenTTL: gossipSeenMs,
    maxTopicBytesPerPeer: gossipTopicBytesPerPeerMax,
    maxInboundDataLength: messageBytesMax,
    maxOutboundBufferSize: gossipBacklogBytesMax,
    tagMeshPeers: false
  })
  return {
    service: (components) => {
      // `components` is a proxy, which cannot be spread.
      const { privateKey, peerId, peerStore, connectionManager, logger } = components
      registrar = new MembersOnlyRegistrar(components.registrar, gate)
      return create({ privateKey, peerId, peerStore, connectionManager, logger, registrar })
    },
    registrar: () => registrar as MembersOnlyRegistrar
  }
}

/**
 * Stands between gossipsub and libp2p: streams of strangers do not get through, and instead of every identified peer
 * gossipsub is told of those connections that we hold for members, when we hold them. libp2p itself would also announce
 * strangers (and send them our topics), and forgets to tell of the second connection when the first one closes.
 */
export class MembersOnlyRegistrar implements Registrar {
  readonly #registrar: Registrar
  readonly #gate: (handler: StreamHandler) => StreamHandler
  readonly #protocols = new Set<string>()
  readonly #topologies = new Map<string, Topology>()

  constructor(registrar: Registrar, gate: (handler: StreamHandler) => StreamHandler) {
    this.#registrar = registrar
    this.#gate = gate
  }

  connected(connection: Connection): void {
    for (const topology of this.#distinct()) void topology.onConnect?.(connection.remotePeer, connection)
  }

  disconnected(connection: Connection): void {
    for (const topology of this.#distinct()) void topology.onDisconnect?.(connection.remotePeer)
  }

  /**
   * Sees to it that gossip goes out on this connection. gossipsub drops a peer with all its streams when any one of them
   * fails, and does not notice that the other end has dropped it: then the stream's other direction is closed.
   */
  async repair(connection: Connection): Promise<void> {
    const streams = connection.streams.filter(
      (stream) => stream.direction === 'outbound' && this.#protocols.has(stream.protocol) && stream.status === 'open'
    )
    if (streams.some((stream) => stream.remoteWriteStatus === 'writable')) return
    // Closed, not aborted: an abort would make the other end drop this peer again.
    await Promise.all(streams.map((stream) => stream.close().catch(() => {})))
    if (connection.status === 'open') this.connected(connection)
  }

  #distinct(): Iterable<Topology> {
    return new Set(this.#topologies.values())
  }

  async register(protocol: string, topology: Topology): Promise<string> {
    this.#topologies.set(protocol, topology)
    return protocol
  }

  unregister(id: string): void {
    this.#topologies.delete(id)
  }

  async handle(protocol: string, handler: StreamHandler, options?: StreamHandlerOptions): Promise<void> {
    this.#protocols.add(protocol)
    await this.#registrar.handle(protocol, this.#gate(handler), options)
  }

  unhandle: Registrar['unhandle'] = (protocol, options) => this.#registrar.unhandle(protocol, options)
  getProtocols: Registrar['getProtocols'] = () => this.#registrar.getProtocols()
  getHandler: Registrar['getHandler'] = (protocol) => this.#registrar.getHandler(protocol)
  getTopologies: Registrar['getTopologies'] = (protocol) =>
    [this.#topologies.get(protocol)].filter((one) => one != null)
  use: Registrar['use'] = (protocol, middleware) => this.#registrar.use(protocol, middleware)
  unuse: Registrar['unuse'] = (protocol) => this.#registrar.unuse(protocol)
  getMiddleware: Registrar['getMiddleware'] = (protocol) => this.#registrar.getMiddleware(protocol)
}
