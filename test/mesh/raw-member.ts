import { noise } from '@libp2p/noise'
import type { Libp2p, PrivateKey, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Host } from './host.ts'

/** A member's identity without its manners: streams to another host, and bytes on them as they are. */
export interface RawMember {
  open(protocol: string): Promise<Stream>
  stop(): Promise<void>
}

/** A libp2p node as it comes, under this key or any. */
export const rawNode = (privateKey?: PrivateKey): Promise<Libp2p> =>
  createLibp2p({
    ...(privateKey == null ? {} : { privateKey }),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false }
  })

export async function rawMember(identity: Host['identity'], to: Host): Promise<RawMember> {
  const node = await rawNode(identity.privateKey)
  const addresses = to.network.addresses().map((address) => multiaddr(address))
  return {
    // Dialled anew when the other host has hung up, as it does with a member that sends no beats.
    async open(protocol) {
      const open = node.getConnections().find(({ status }) => status === 'open')
      return (open ?? (await node.dial(addresses))).newStream(protocol)
    },
    stop: async () => node.stop()
  }
}

/** Resolves when the other side has ended the stream. */
export const ended = (stream: Stream): Promise<void> =>
  new Promise((resolve) => {
    if (stream.status !== 'open') resolve()
    stream.addEventListener('close', () => resolve())
  })
