import type { ServerResponse } from 'node:http'
import type { Clock } from '../../clock.ts'
import { eventHeartbeatMs } from './limits.ts'

/**
 * Server-sent events to one reader, as an answer that goes on until the reader, the agent or `end` ends it. What is
 * written before it is opened waits for that, so that a refusal can still be an answer of its own.
 */
export class EventStream {
  readonly #out: ServerResponse
  readonly #clock: Clock
  readonly #stopping: AbortSignal
  readonly #isWelcome: () => boolean
  readonly #opened = Promise.withResolvers<void>()
  #ended = false

  /** `isWelcome` turns false when the reader may not know any more, and the stream ends before the next word. */
  constructor(
    out: ServerResponse,
    { clock, stopping, isWelcome }: { clock: Clock; stopping: AbortSignal; isWelcome: () => boolean }
  ) {
    this.#out = out
    this.#clock = clock
    this.#stopping = stopping
    this.#isWelcome = isWelcome
  }

  /** `release` is called when the stream is over, however. */
  open(release: () => void): void {
    const out = this.#out
    out.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      connection: 'close',
      'x-accel-buffering': 'no'
    })
    out.write(': open\n\n')
    const alive = (): void => {
      if (!this.#isWelcome()) this.end()
      else if (!out.writableNeedDrain && !out.writableEnded) out.write(': alive\n\n')
    }
    const heartbeat = this.#clock.every(eventHeartbeatMs, alive)
    const end = (): void => this.end()
    this.#stopping.addEventListener('abort', end, { once: true })
    const closed = (): void => {
      release()
      heartbeat.cancel()
      this.#stopping.removeEventListener('abort', end)
    }
    if (out.destroyed) closed()
    else out.once('close', closed)
    this.#opened.resolve()
    if (this.#stopping.aborted || this.#ended) end()
  }

  /** Resolves when the next one may follow: the reader has kept up, or is gone. */
  async write(type: string, data: unknown): Promise<void> {
    await this.#opened.promise
    const out = this.#out
    if (!this.#isWelcome()) return this.end()
    if (out.destroyed || out.writableEnded || out.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        out.off('drain', done)
        out.off('close', done)
        resolve()
      }
      out.on('drain', done)
      out.on('close', done)
    })
  }

  end(): void {
    this.#ended = true
    if (this.#out.headersSent) this.#out.end()
  }
}
