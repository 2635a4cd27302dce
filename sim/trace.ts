import { createHash, type Hash } from 'node:crypto'
import { timelineMax } from './limits.ts'
import type { GossipMessage } from './net/gossip.ts'

/** Something a person wants to see of a run. `host` is null for what concerns all. */
export interface TimelineEvent {
  at: number
  host: number | null
  kind: 'fault' | 'change' | 'apply' | 'life' | 'agree' | 'violation'
  text: string
}

const batchMax = 512

/**
 * What happened, as one hash: every delivery, every apply and every entry that a host holds from then on goes in, with its time. Two runs of
 * one seed are the same run exactly when their hashes are equal.
 */
export class Trace {
  readonly #hash: Hash = createHash('sha256')
  readonly #now: () => number
  #lines: string[] = []
  readonly timeline: TimelineEvent[] = []
  readonly counts = { gossip: 0, frames: 0, bytes: 0, applies: 0, entries: 0 }

  constructor(now: () => number) {
    this.#now = now
  }

  gossip(host: number, message: GossipMessage, from: string): void {
    this.counts.gossip++
    this.counts.bytes += message.data.byteLength
    this.#line(`g ${host} ${from} ${message.id}`)
  }

  frame(host: number, from: string, bytes: number): void {
    this.counts.frames++
    this.counts.bytes += bytes
    this.#line(`f ${host} ${from} ${bytes}`)
  }

  applied(host: number, generation: number, digest: string): void {
    this.counts.applies++
    this.#line(`a ${host} ${generation} ${digest}`)
  }

  /** What a host holds, and so all that it shows, follows from these. */
  entry(host: number, hash: string): void {
    this.counts.entries++
    this.#line(`e ${host} ${hash}`)
  }

  note(host: number | null, kind: TimelineEvent['kind'], text: string): void {
    this.#line(`n ${host ?? '-'} ${kind} ${text}`)
    if (this.timeline.length < timelineMax) this.timeline.push({ at: this.#now(), host, kind, text })
  }

  /** Hex, of all so far. */
  digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  #line(text: string): void {
    this.#lines.push(`${this.#now().toFixed(3)} ${text}`)
    if (this.#lines.length >= batchMax) this.#flush()
  }

  #flush(): void {
    if (this.#lines.length === 0) return
    this.#hash.update(`${this.#lines.join('\n')}\n`)
    this.#lines = []
  }
}
