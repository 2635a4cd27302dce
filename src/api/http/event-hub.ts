import type { OperatorEvent } from '../../actors/operator/operator.ts'
import { eventsKeptMax } from './limits.ts'

/** An event as the stream sends it. `id` is null for what cannot be resumed. */
export interface StreamEvent {
  readonly id: string | null
  readonly type: string
  /** Server-sent-event text, made at the first reader's asking and shared by all. */
  readonly text: () => string
}

/**
 * Numbers the operator's events and remembers the last `eventsKeptMax` state changes for readers that come back. An id
 * is `EPOCH-NUMBER`: the epoch differs between runs of the agent, so an id from before a restart is known to be stale.
 * Finished flows pass through live but are not kept: a busy host has thousands a second, and they would push out the
 * state changes that a reader resumes for.
 */
export class EventHub {
  readonly #epoch: string
  readonly #kept: StreamEvent[] = []
  readonly #readers = new Set<(event: StreamEvent) => void>()
  #last = 0

  constructor(epoch: number) {
    this.#epoch = Math.max(0, Math.trunc(epoch)).toString(36)
  }

  publish(event: OperatorEvent): void {
    const kept = event.type !== 'flow.closed'
    if (!kept && this.#readers.size === 0) return
    const id = kept ? this.#id(++this.#last) : null
    const sent: StreamEvent = { id, type: event.type, text: once(() => encode(id, event)) }
    if (kept) {
      this.#kept.push(sent)
      // Trimmed in batches: shifting one by one would move the whole array at every event.
      if (this.#kept.length >= 2 * eventsKeptMax) this.#kept.splice(0, this.#kept.length - eventsKeptMax)
    }
    for (const reader of this.#readers) reader(sent)
  }

  /**
   * What happened after `lastId`, oldest first. `complete` is false when the agent no longer knows everything since
   * then; the reader has to read the state anew.
   */
  since(lastId: string): { complete: boolean; events: readonly StreamEvent[] } {
    const number = this.#number(lastId)
    const missed = number == null ? Infinity : this.#last - number
    const kept = Math.min(this.#kept.length, eventsKeptMax)
    if (missed < 0 || missed > kept) return { complete: false, events: [] }
    return { complete: true, events: missed === 0 ? [] : this.#kept.slice(-missed) }
  }

  /** The id after which nothing has happened yet. */
  get lastId(): string {
    return this.#id(this.#last)
  }

  get readers(): number {
    return this.#readers.size
  }

  read(reader: (event: StreamEvent) => void): () => void {
    this.#readers.add(reader)
    return () => this.#readers.delete(reader)
  }

  #id(number: number): string {
    return `${this.#epoch}-${number}`
  }

  #number(id: string): number | null {
    const [epoch, digits, ...rest] = id.split('-')
    if (epoch !== this.#epoch || digits == null || rest.length > 0 || !/^\d{1,15}$/.test(digits)) return null
    return Number(digits)
  }
}

/** Server-sent events, HTML Living Standard §9.2: JSON has no raw line breaks, so one `data:` line is enough. */
function encode(id: string | null, event: OperatorEvent): string {
  const type = event.type.replaceAll(/[\r\n]/g, '')
  return `${id == null ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(event)}\n\n`
}

function once(make: () => string): () => string {
  let made: string | undefined
  return () => (made ??= make())
}
