import { messageBytesMax } from '../../src/mesh/limits.ts'
import type { Channel } from '../../src/mesh/network.ts'

/** One end of a message stream; whole messages travel, so nothing has to be cut into frames. */
export class SimChannel implements Channel {
  readonly #send: (what: Uint8Array | 'fin' | 'reset') => void
  readonly #queue: Uint8Array[] = []
  #waiting: { resolve: (message: Uint8Array | null) => void; reject: (error: Error) => void } | null = null
  /** The other side has said that it sends no more. */
  #ended = false
  #closed = false
  #failure: Error | null = null

  constructor(send: (what: Uint8Array | 'fin' | 'reset') => void) {
    this.#send = send
  }

  /** Neither side can send any more. */
  get over(): boolean {
    return this.#failure != null || (this.#closed && this.#ended)
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.byteLength > messageBytesMax) {
      throw new RangeError(`a message has at most ${messageBytesMax} bytes, not ${message.byteLength}`)
    }
    if (this.#failure != null) throw this.#failure
    if (this.#closed) throw new Error('the stream is closed for writing')
    this.#send(message)
  }

  receive({ signal }: { signal: AbortSignal }): Promise<Uint8Array | null> {
    const next = this.#queue.shift()
    if (next != null) return Promise.resolve(next)
    if (this.#failure != null) return Promise.reject(this.#failure)
    if (this.#ended) return Promise.resolve(null)
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting = null
        reject(signal.reason as Error)
      }
      const done = (): void => signal.removeEventListener('abort', abort)
      signal.addEventListener('abort', abort, { once: true })
      this.#waiting = {
        resolve: (message) => {
          done()
          resolve(message)
        },
        reject: (error) => {
          done()
          reject(error)
        }
      }
    })
  }

  async close(): Promise<void> {
    if (this.#closed || this.#failure != null) return
    this.#closed = true
    this.#send('fin')
  }

  abort(reason: Error): void {
    if (this.#failure != null) return
    this.#send('reset')
    this.fail(reason)
  }

  arrived(message: Uint8Array): void {
    if (this.#failure != null || this.#ended) return
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting == null) this.#queue.push(message)
    else waiting.resolve(message)
  }

  end(): void {
    this.#ended = true
    this.#waiting?.resolve(null)
    this.#waiting = null
  }

  fail(error: Error): void {
    this.#failure ??= error
    this.#queue.length = 0
    this.#waiting?.reject(this.#failure)
    this.#waiting = null
  }
}
