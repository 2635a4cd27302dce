import { NotFoundError, type PeerId, type PeerStore } from '@libp2p/interface'

/**
 * A service of libp2p that has it remember no other peer. By itself it notes the address of each that it dials and, at both ends of each
 * stream, the stream's protocol, under a lock and encoded: a tenth of what a connection costs. Nothing here asks for it: whom to dial
 * and where the replicated state says, who is to hear gossip our registrar. What it has of this peer itself stays.
 */
export function unremembered({ peerStore, peerId }: { peerStore: PeerStore; peerId: PeerId }): object {
  const store: Store = peerStore
  const { merge, patch, get } = store
  const isSelf = (peer: unknown): boolean => peerId.equals(peer as PeerId)
  store.merge = async (...args) => (isSelf(args[0]) ? merge.apply(store, args) : undefined)
  store.patch = async (...args) => (isSelf(args[0]) ? patch.apply(store, args) : undefined)
  store.get = async (...args) => {
    if (isSelf(args[0])) return get.apply(store, args)
    throw new NotFoundError('no other peer is remembered')
  }
  return {}
}

/** What libp2p asks of it, whose answers of the first two nobody reads. */
interface Store {
  merge(...args: Parameters<PeerStore['merge']>): Promise<unknown>
  patch(...args: Parameters<PeerStore['patch']>): Promise<unknown>
  get(...args: Parameters<PeerStore['get']>): Promise<unknown>
}
