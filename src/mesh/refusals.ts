import { ArcticError, InvalidRequestError } from '../errors.ts'
import { MisspokenError, type Refusal } from './misspoken.ts'
import type { Channel } from './network.ts'

/** Counts what others spoke wrongly, by protocol: a figure for operators, since the log is no place for what others can provoke. */
export class Refusals {
  readonly #counts = new Map<string, Refused>()

  add(protocol: string, reason: Refusal, count = 1): void {
    const key = `${protocol} ${reason}`
    const held = this.#counts.get(key)
    if (held == null) this.#counts.set(key, { protocol, reason, count })
    else held.count += count
  }

  all(): readonly Refused[] {
    return [...this.#counts.values()]
  }

  /** Counts what made a stream end, unless that was no fault of the other side's words. */
  note(protocol: string, error: unknown): void {
    const reason = refusalOf(error)
    if (reason != null) this.add(protocol, reason)
  }

  /** The verdict on a message of a topic; one that nobody who speaks it well would hand on is counted. */
  judged<V extends 'accept' | 'ignore' | 'reject'>(topic: string, verdict: V): V {
    if (verdict === 'reject') this.add(topic, 'invalid')
    return verdict
  }

  /** The handler of a protocol, with what it throws counted. */
  guard<From>(protocol: string, handler: (channel: Channel, from: From) => Promise<void>): typeof handler {
    return async (channel, from) => {
      try {
        await handler(channel, from)
      } catch (error) {
        this.note(protocol, error)
        throw error
      }
    }
  }
}

export interface Refused {
  protocol: string
  reason: Refusal
  count: number
}

function refusalOf(error: unknown): Refusal | null {
  if (error instanceof MisspokenError) return error.reason
  if (error instanceof InvalidRequestError) return 'malformed'
  if (error instanceof RangeError) return 'oversized'
  if (error instanceof ArcticError || !(error instanceof Error)) return null
  return error.name === 'TimedOutError' ? 'silent' : null
}
