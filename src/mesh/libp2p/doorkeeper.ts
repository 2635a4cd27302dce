import type { ConnectionGater, MultiaddrConnection, PeerId as Libp2pPeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../../crdt/schema.ts'
import { strangersMax, strangersPerHostMax, unprovenMax, unprovenPerHostMax } from '../limits.ts'
import type { QuietLog } from '../quiet-log.ts'

/** What the doorkeeper asks to decide who may come in. */
export interface Membership {
  /** False as long as this peer belongs to no cluster. */
  inCluster(): boolean
  isMember(peer: PeerId): boolean
}

/**
 * Decides which inbound connections live. In the order in which a connection meets it:
 *
 * 1. A socket is let in if few others are waiting to prove who they are, altogether and from its address.
 * 2. When noise has proven its peer id: a member is in. Outside a cluster nobody else has business here.
 * 3. A stranger is let in to join, if few others are, altogether and from its address.
 */
export class Doorkeeper {
  readonly #membership: Membership
  readonly #log: QuietLog
  readonly #unproven = new Headcount(unprovenMax, unprovenPerHostMax)
  readonly #strangers = new Headcount(strangersMax, strangersPerHostMax)

  constructor(membership: Membership, log: QuietLog) {
    this.#membership = membership
    this.#log = log
  }

  readonly gater: ConnectionGater = {
    // libp2p's default gater may refuse private addresses; members live there.
    denyDialMultiaddr: () => false,
    denyInboundConnection: (socket) => this.#refuseSocket(socket),
    denyInboundEncryptedConnection: (peer, socket) => this.#refusePeer(peer, socket)
  }

  counts(): { unproven: number; strangers: number } {
    return { unproven: this.#unproven.size, strangers: this.#strangers.size }
  }

  /** Whether somebody at this host is just proving who it is. */
  isProving(host: string): boolean {
    return this.#unproven.at(host) > 0
  }

  #refuseSocket(socket: MultiaddrConnection): boolean {
    const host = hostOf(socket.remoteAddr)
    if (!this.#unproven.enter(socket, host)) {
      this.#log.info('too many connections are waiting to prove an identity; new ones are refused', { host })
      return true
    }
    socket.addEventListener('close', () => {
      if (this.#unproven.leave(socket)) {
        this.#log.info('a connection closed before it proved an identity', { host })
      }
    })
    return false
  }

  #refusePeer(id: Libp2pPeerId, socket: MultiaddrConnection): boolean {
    this.#unproven.leave(socket)
    const peer = id.toString()
    if (this.#membership.isMember(peer)) return false
    const host = hostOf(socket.remoteAddr)
    if (!this.#membership.inCluster()) {
      this.#log.info('refused a peer: this agent belongs to no cluster yet', { peer, host })
      return true
    }
    if (!this.#strangers.enter(socket, host)) {
      this.#log.info('too many peers that are not members are connected; new ones are refused', { peer, host })
      return true
    }
    socket.addEventListener('close', () => this.#strangers.leave(socket))
    return false
  }
}

/** Counts sockets altogether and per host, with a bound on both. */
class Headcount {
  readonly #max: number
  readonly #perHostMax: number
  readonly #hostOf = new Map<MultiaddrConnection, string>()
  readonly #perHost = new Map<string, number>()

  constructor(max: number, perHostMax: number) {
    this.#max = max
    this.#perHostMax = perHostMax
  }

  get size(): number {
    return this.#hostOf.size
  }

  at(host: string): number {
    return this.#perHost.get(host) ?? 0
  }

  enter(socket: MultiaddrConnection, host: string): boolean {
    const here = this.at(host)
    if (this.#hostOf.size >= this.#max || here >= this.#perHostMax) return false
    this.#hostOf.set(socket, host)
    this.#perHost.set(host, here + 1)
    return true
  }

  leave(socket: MultiaddrConnection): boolean {
    const host = this.#hostOf.get(socket)
    if (host == null) return false
    this.#hostOf.delete(socket)
    const here = (this.#perHost.get(host) ?? 1) - 1
    if (here === 0) this.#perHost.delete(host)
    else this.#perHost.set(host, here)
    return true
  }
}

/** What counts as one source of connections: an IPv4 address, or the first 64 bits of an IPv6 one. */
export function hostOf(address: Multiaddr): string {
  const { name, value = '' } = address.getComponents()[0] ?? { name: '' }
  if (name !== 'ip6' || value.startsWith('::ffff:')) return value
  const [head = '', tail] = value.split('::')
  const groups = head === '' ? [] : head.split(':')
  const filled = tail == null ? groups : [...groups, ...Array<string>(Math.max(0, 4 - groups.length)).fill('0')]
  return `${filled.slice(0, 4).join(':')}::/64`
}
