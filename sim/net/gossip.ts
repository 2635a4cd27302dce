import { createHash } from 'node:crypto'
import type { PeerId } from '../../src/crdt/schema.ts'
import { gossipSeenMs } from '../../src/mesh/limits.ts'
import type { Audience, Network } from '../../src/mesh/network.ts'
import { gossipDegree, gossipDegreeMax } from '../limits.ts'
import type { SeededRandom } from '../random.ts'
import type { End } from './end.ts'

export interface GossipMessage {
  /** Hash of topic and content, as the product's message ids are. */
  id: string
  topic: string
  data: Uint8Array
  to: Audience
}

/**
 * What gossipsub does for the product, without its wire format: own messages go to everybody connected (flood publish),
 * what is new, valid and for all is handed on to a few grafted neighbours, repetitions are dropped by content. Each hop is a
 * datagram, so it can be lost, doubled or overtaken: anti-entropy has to carry the promise.
 */
export class Overlay {
  readonly #ends: () => Iterable<End>
  readonly #endOf: (peer: PeerId) => End | undefined
  readonly #random: SeededRandom
  readonly #now: () => number
  readonly #onDeliver: (message: GossipMessage, from: PeerId) => void
  readonly #topics = new Map<string, Parameters<Network['subscribe']>[1]>()
  readonly #neighbours = new Set<PeerId>()
  /** Two generations: what is in neither is new. */
  #seen = new Set<string>()
  #seenBefore = new Set<string>()
  #turnedAt = 0

  constructor(parts: {
    ends: () => Iterable<End>
    endOf: (peer: PeerId) => End | undefined
    random: SeededRandom
    now: () => number
    onDeliver: (message: GossipMessage, from: PeerId) => void
  }) {
    this.#ends = parts.ends
    this.#endOf = parts.endOf
    this.#random = parts.random
    this.#now = parts.now
    this.#onDeliver = parts.onDeliver
  }

  get topics(): number {
    return this.#topics.size
  }

  get remembered(): number {
    return this.#seen.size + this.#seenBefore.size
  }

  subscribe(topic: string, options: Parameters<Network['subscribe']>[1]): () => void {
    if (this.#topics.has(topic)) throw new RangeError(`topic ${topic} has a subscriber`)
    this.#topics.set(topic, options)
    return () => void this.#topics.delete(topic)
  }

  publish(topic: string, data: Uint8Array, to: Audience): void {
    const id = idOf(topic, data)
    if (!this.#isNew(id)) return
    const message = { id, topic, data, to }
    for (const end of this.#ends()) end.gossip(message)
  }

  tell(topic: string, data: Uint8Array, peer: PeerId): boolean {
    const end = this.#endOf(peer)
    end?.gossip({ id: idOf(topic, data), topic, data, to: 'connected' })
    return end != null
  }

  /** `end` is a member's. */
  arrived(end: End, message: GossipMessage): void {
    const topic = this.#topics.get(message.topic)
    if (topic == null || !this.#isNew(message.id)) return
    if (topic.validate(message.data) !== 'accept') return
    const from = end.peer
    this.#onDeliver(message, from)
    topic.deliver(message.data, from)
    if (message.to === 'connected') return
    for (const peer of this.#neighbours) if (peer !== from) this.#endOf(peer)?.gossip(message)
  }

  connected(end: End): void {
    if (this.#neighbours.size < gossipDegree) this.#graft(end)
    for (const { onSubscriber } of this.#topics.values()) onSubscriber?.(end.peer)
  }

  disconnected(peer: PeerId): void {
    this.#neighbours.delete(peer)
  }

  grafted(end: End, on: boolean): void {
    if (!on) this.#neighbours.delete(end.peer)
    else if (this.#neighbours.size < gossipDegreeMax) this.#neighbours.add(end.peer)
    else end.graft(false)
  }

  heartbeat(): void {
    const lacking = gossipDegree - this.#neighbours.size
    if (lacking <= 0) return
    const others = [...this.#ends()].filter((end) => !this.#neighbours.has(end.peer))
    for (const end of this.#random.sample(others, lacking)) this.#graft(end)
  }

  clear(): void {
    this.#topics.clear()
    this.#neighbours.clear()
    this.#seen.clear()
    this.#seenBefore.clear()
  }

  #graft(end: End): void {
    this.#neighbours.add(end.peer)
    end.graft(true)
  }

  #isNew(id: string): boolean {
    const now = this.#now()
    if (now - this.#turnedAt >= gossipSeenMs) {
      this.#seenBefore = now - this.#turnedAt >= 2 * gossipSeenMs ? new Set() : this.#seen
      this.#seen = new Set()
      this.#turnedAt = now
    }
    if (this.#seen.has(id) || this.#seenBefore.has(id)) return false
    this.#seen.add(id)
    return true
  }
}

const idOf = (topic: string, data: Uint8Array): string =>
  createHash('sha256').update(topic).update('\0').update(data).digest('base64')
