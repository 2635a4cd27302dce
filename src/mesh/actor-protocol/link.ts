import { concat } from 'uint8arrays'
import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { fromErrorBody, UnavailableError } from '../../errors.ts'
import { actorAnswerBytesMax, actorAsksMax, actorLinkIdleMs } from '../limits.ts'
import type { Channel } from '../network.ts'
import { Slots } from '../slots.ts'
import { parseAnswer, parseReply, type DeathNotice, type Reply } from './frame.ts'

interface Call {
  resolve: (answer: unknown) => void
  reject: (error: unknown) => void
  parts: Uint8Array[]
  bytes: number
}

interface Ear {
  onUpdate?: (update: unknown) => void
  onEnd?: (notice: DeathNotice) => void
}

/** The asking side of one stream to one peer. It closes by itself when nothing is asked and nothing is watched. */
export class Link {
  readonly #channel: Channel
  readonly #peer: PeerId
  readonly #clock: Clock
  readonly #slots = new Slots(actorAsksMax)
  readonly #calls = new Map<number, Call>()
  readonly #ears = new Map<number, Ear>()
  readonly #ended = Promise.withResolvers<void>()
  #next = 0
  #idle: Timer | null = null
  #closed = false

  constructor(parts: { channel: Channel; peer: PeerId; clock: Clock }) {
    this.#channel = parts.channel
    this.#peer = parts.peer
    this.#clock = parts.clock
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Resolves when the stream has ended, however. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Reads until the stream ends; everybody who still waits then is told. Never rejects. */
  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    let failure: unknown = null
    try {
      for (;;) {
        const message = await this.#channel.receive({ signal })
        if (message == null) break
        this.#take(parseReply(message))
      }
      void this.#channel.close()
    } catch (error) {
      failure = error
      this.#channel.abort(error as Error)
    }
    this.#closed = true
    this.#idle?.cancel()
    const why = this.#lost(failure)
    for (const { reject } of this.#calls.values()) reject(why)
    this.#calls.clear()
    for (const { onEnd } of this.#ears.values()) onEnd?.({ status: 'unreachable', reason: why.message })
    this.#ears.clear()
    this.#ended.resolve()
  }

  /** Resolves with the answer; rejects with what the peer refused with, or the signal's reason. */
  async ask(frame: (id: number) => Uint8Array, { signal }: { signal: AbortSignal }): Promise<unknown> {
    using _ = await this.#slots.take({ signal })
    const id = this.#number()
    return this.#call(id, frame(id), signal)
  }

  /** Resolves when the message is on its way. It waits its turn among the asks, so that none overtakes another. */
  async tell(frame: (id: number) => Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    using _ = await this.#slots.take({ signal })
    this.#checkOpen()
    this.#idleAgain()
    await this.#channel.send(frame(this.#number())).catch((error: unknown) => Promise.reject(this.#lost(error)))
  }

  /** Resolves once the peer has agreed, with a function that ends it; `withdraw` says so to the peer. */
  async listen(
    frame: (id: number) => Uint8Array,
    withdraw: (id: number) => Uint8Array,
    ear: Ear,
    { signal }: { signal: AbortSignal }
  ): Promise<() => void> {
    const id = this.#number()
    const stop = (): void => {
      if (!this.#ears.delete(id) || this.#closed) return
      this.#idleAgain()
      this.#channel.send(withdraw(id)).catch(() => {})
    }
    // Updates may come before the answer does.
    this.#ears.set(id, ear)
    try {
      await this.#call(id, frame(id), signal)
    } catch (error) {
      if (signal.aborted) stop()
      this.#ears.delete(id)
      throw error
    }
    return stop
  }

  async #call(id: number, frame: Uint8Array, signal: AbortSignal): Promise<unknown> {
    this.#checkOpen()
    signal.throwIfAborted()
    this.#idle?.cancel()
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    this.#calls.set(id, { resolve, reject, parts: [], bytes: 0 })
    // Not awaited: a peer that does not read makes this wait, and then the signal ends it.
    this.#channel.send(frame).catch((error: unknown) => reject(this.#lost(error)))
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', abort)
      this.#calls.delete(id)
      this.#idleAgain()
    }
  }

  #take(reply: Reply): void {
    const { id } = reply
    const call = this.#calls.get(id)
    switch (reply.type) {
      // An answer that nobody waits for any more came too late.
      case 'part':
      case 'answer':
        if (call == null) return
        call.bytes += reply.bytes.byteLength
        if (call.bytes > actorAnswerBytesMax) throw new UnavailableError('a peer sent an answer that is too long')
        call.parts.push(reply.bytes)
        if (reply.type === 'answer') call.resolve(parseAnswer(concat(call.parts)))
        return
      case 'refusal':
        call?.reject(
          fromErrorBody(reply.error) ??
            new UnavailableError(`peer ${this.#peer} refused for a reason that this version does not know`)
        )
        return
      case 'update':
        this.#ears.get(id)?.onUpdate?.(reply.update)
        return
      case 'ended': {
        const ear = this.#ears.get(id)
        this.#ears.delete(id)
        ear?.onEnd?.(reply.notice)
        this.#idleAgain()
      }
    }
  }

  #idleAgain(): void {
    this.#idle?.cancel()
    this.#idle = null
    if (this.#closed || this.#calls.size > 0 || this.#ears.size > 0) return
    this.#idle = this.#clock.after(actorLinkIdleMs, () => {
      this.#closed = true
      void this.#channel.close()
    })
  }

  #number(): number {
    this.#next = (this.#next + 1) >>> 0
    return this.#next
  }

  #lost(cause: unknown): UnavailableError {
    return new UnavailableError(
      `the connection to peer ${this.#peer} ended before it had answered; nobody knows whether it heard`,
      { peer: this.#peer },
      { cause }
    )
  }

  #checkOpen(): void {
    if (this.#closed) throw new UnavailableError(`the connection to peer ${this.#peer} has just ended; ask again`)
  }
}
