import type { FastifyReply } from 'fastify'
import type { Operator, WaitJson } from '../../actors/operator/operator.ts'
import type { Concerned } from '../../actors/operator/wait.ts'
import { ArcticError, InvalidRequestError } from '../../errors.ts'
import { durationSeconds } from '../duration.ts'
import { hangUpSignal } from './hang-up.ts'
import { waitDefaultSeconds, waitSecondsMax } from './limits.ts'

/** Where an answer that is a list, or empty, says how waiting for it went: a {@link WaitJson}. */
const HEADER = 'arctic-wait'

/**
 * `?wait=`: made before the write, so that a wrong duration is refused while nothing is changed yet; then waits, when it
 * was asked to. The answer keeps the status of the write, which is made whatever comes: a program that took an error for
 * "not done" would write it twice. That it is not in force everywhere is said in the header, and by {@link in}.
 */
export class Wait {
  readonly #operator: Operator
  readonly #reply: FastifyReply
  readonly #timeoutMs: number | null

  constructor(operator: Operator, reply: FastifyReply, text: string | undefined) {
    this.#operator = operator
    this.#reply = reply
    this.#timeoutMs = readWait(text)
  }

  get asked(): boolean {
    return this.#timeoutMs != null
  }

  /** Null when nobody asked for it. */
  async for(services: () => readonly Concerned[] | Promise<readonly Concerned[]>): Promise<WaitJson | null> {
    return this.#told(async (options) => this.#operator.waitFor(await services(), options))
  }

  /** Likewise for what was written of a peer, or of nobody in particular (null), which all members are to know. */
  async forMembers(peer: string | null): Promise<WaitJson | null> {
    return this.#told((options) => this.#operator.waitForMembers(peer, options))
  }

  /** Likewise for the keys of a peer, at all ends of its services. */
  async forKeys(peer: string): Promise<WaitJson | null> {
    return this.#told((options) => this.#operator.waitForKeys(peer, options))
  }

  async #told(
    ask: (options: { timeoutMs: number; signal: AbortSignal }) => Promise<WaitJson>
  ): Promise<WaitJson | null> {
    if (this.#timeoutMs == null) return null
    const wait = await ask({ timeoutMs: this.#timeoutMs, signal: hangUpSignal(this.#reply) })
    void this.#reply.header(HEADER, ascii(JSON.stringify(wait)))
    return wait
  }

  /** The answer to a write: as it was, or after waiting as it is now, with how that went. */
  async in<T extends object>(
    written: T,
    { of, now }: { of: () => readonly Concerned[] | Promise<readonly Concerned[]>; now: () => Promise<T | undefined> }
  ): Promise<T & { wait?: WaitJson }> {
    const wait = await this.for(of)
    return wait == null ? written : { ...((await now()) ?? written), wait }
  }
}

/** Undefined for what was deleted meanwhile. */
export const found = <T>(answer: Promise<T>): Promise<T | undefined> =>
  answer.catch((error: unknown) => {
    if (error instanceof ArcticError && error.status === 404) return undefined
    throw error
  })

/** Milliseconds; null when it is not asked for. */
function readWait(text: string | undefined): number | null {
  if (text == null || text === 'false') return null
  const seconds = text === 'true' ? waitDefaultSeconds : durationSeconds(text)
  if (seconds != null && seconds <= waitSecondsMax) return seconds * 1000
  throw new InvalidRequestError(
    `"wait" must be a duration up to ${waitSecondsMax}s such as 10s or 1m, or true, not "${text.slice(0, 40)}"`,
    { field: 'wait', in: 'query' }
  )
}

/** Header values are ASCII; JSON can say everything so. */
const ascii = (json: string): string =>
  json.replaceAll(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
