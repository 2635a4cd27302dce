import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../clock.ts'
import { ConflictError } from '../../errors.ts'
import { idempotencyAnswersMax, idempotencyBytesMax, idempotencyTtlMs } from './limits.ts'
import type { App } from './type-provider.ts'

interface Answer {
  status: number
  type: string | undefined
  payload: string
}

interface Kept {
  /** Digest of query and body: a key stands for one request. */
  asked: string
  since: number
  /** Null when it ended without success, so that the next one with this key is a new attempt. */
  answer: Promise<Answer | null>
  /** Bytes of the answer; null while it is being made. */
  bytes: number | null
}

/**
 * `Idempotency-Key` on POST: whoever repeats a request because its answer was lost gets the first one's answer, and
 * nothing is made twice (draft-ietf-httpapi-idempotency-key-header).
 * 1. A key is its caller's and its path's own. Used for another query or body it is refused with 409.
 * 2. A repetition that comes while the first is at work waits for it.
 * 3. Only success is kept: what failed has changed nothing, and may be tried again.
 * 4. Kept in memory: at most so many, so large and so long; a restart of the agent forgets them.
 */
export class Idempotency {
  readonly #clock: Clock
  /** In the order in which they came. */
  readonly #kept = new Map<string, Kept>()
  readonly #making = new WeakMap<FastifyRequest, (answer: Answer | null) => void>()
  #bytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  install(app: App): void {
    // After validation: what is refused there never began.
    app.addHook('preHandler', async (request, reply) => {
      const key = request.headers['idempotency-key']
      if (request.method !== 'POST' || key == null) return
      const [path, query] = request.url.split('?', 2)
      const asked = digest(query, JSON.stringify(request.body))
      const answer = await this.#earlier(request, digest(request.headers.authorization, path, key), asked)
      if (answer == null) return
      if (answer.type != null) void reply.type(answer.type)
      // Already serialised: a string that the type above describes.
      void reply.code(answer.status).header('idempotent-replayed', 'true').serializer(String)
      return reply.send(answer.payload)
    })
    app.addHook('onSend', async (request, reply, payload) => {
      const settle = this.#making.get(request)
      if (settle == null) return
      this.#making.delete(request)
      const type = reply.getHeader('content-type')
      const success = reply.statusCode >= 200 && reply.statusCode < 300 && typeof payload === 'string'
      settle(success ? { status: reply.statusCode, type: type?.toString(), payload } : null)
    })
  }

  /** What the same request was answered, or null once this one is its first. */
  async #earlier(request: FastifyRequest, name: string, asked: string): Promise<Answer | null> {
    for (;;) {
      this.#forget()
      const kept = this.#kept.get(name)
      if (kept == null) break
      if (kept.asked !== asked) {
        throw new ConflictError(409, 'this Idempotency-Key was used for another request; make a new one per request')
      }
      const answer = await kept.answer
      if (answer != null) return answer
    }
    const { promise, resolve } = Promise.withResolvers<Answer | null>()
    const kept: Kept = { asked, since: this.#clock.monotonic(), answer: promise, bytes: null }
    this.#kept.set(name, kept)
    this.#making.set(request, (answer) => {
      if (answer == null) this.#kept.delete(name)
      else this.#bytes += kept.bytes = Buffer.byteLength(answer.payload)
      resolve(answer)
    })
    return null
  }

  /** The old ones, and the oldest ones while there are too many. What is being made stays. */
  #forget(): void {
    const now = this.#clock.monotonic()
    for (const [name, { since, bytes }] of this.#kept) {
      const room = this.#kept.size < idempotencyAnswersMax && this.#bytes <= idempotencyBytesMax
      if (room && now - since < idempotencyTtlMs) return
      if (bytes == null) continue
      this.#kept.delete(name)
      this.#bytes -= bytes
    }
  }
}

function digest(...parts: Array<string | string[] | undefined>): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64')
}
