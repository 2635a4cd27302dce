import type { PeerId, Role } from '../../crdt/schema.ts'
import { ForbiddenError, PeerNotFoundError, toErrorBody, UnavailableError, ArcticError } from '../../errors.ts'
import { LatestWins } from '../../latest-wins.ts'
import { actorAsksMax, actorFrameBytesMax, actorUpdatesWaitingMax, actorWatchesPerPeerMax } from '../limits.ts'
import { TimedOutError } from '../deadline.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel } from '../network.ts'
import { Slots } from '../slots.ts'
import type { ActorHandler, Refusal } from './actors.ts'
import { parseRequest, replies, type Request } from './frame.ts'

export interface ServingParts {
  channel: Channel
  peer: PeerId
  /** Null when the peer is no member any more. */
  role: () => Role | null
  handler: () => ActorHandler | null
  refused: (why: Refusal) => void
}

/**
 * One peer's stream, served until it ends or misbehaves:
 *
 * 1. A request is read only when a slot is free, so whoever asks without reading the answers is not read any more.
 * 2. Its right is looked up anew: a role may have changed since the last request.
 * 3. Handlers are called in the order of arrival; answers may overtake each other.
 * 4. Updates wait in one place, the newest of each actor, and are written as fast as the peer reads.
 */
export class Serving {
  readonly #parts: ServingParts
  readonly #slots = new Slots(actorAsksMax)
  /** Watches and monitors by their request's number. */
  readonly #watches = new Map<number, () => void>()
  readonly #updates: LatestWins<() => Uint8Array>
  #closed = false

  constructor(parts: ServingParts) {
    this.#parts = parts
    this.#updates = new LatestWins(actorUpdatesWaitingMax, (frame) => parts.channel.send(frame()))
  }

  /** Resolves when the peer has closed; rejects when it was cut or sent what is no request. */
  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    const { channel } = this.#parts
    try {
      for (;;) {
        const slot = await this.#slots.take({ signal })
        const message = await channel.receive({ signal, bytesMax: actorFrameBytesMax }).catch((error: unknown) => {
          if (isMisspoken(error)) this.#parts.refused('malformed')
          throw error
        })
        if (message == null) return
        this.#take(this.#parse(message), slot)
      }
    } finally {
      this.#closed = true
      this.#updates.close()
      for (const release of this.#watches.values()) release()
      this.#watches.clear()
    }
  }

  /** Watches and monitors that are open. */
  get watches(): number {
    return this.#watches.size
  }

  #parse(message: Uint8Array): Request {
    try {
      return parseRequest(message)
    } catch (error) {
      this.#parts.refused('malformed')
      throw error
    }
  }

  #take(request: Request, slot: Disposable): void {
    const { type, id } = request
    if (type === 'withdraw') {
      this.#watches.get(id)?.()
      this.#watches.delete(id)
      slot[Symbol.dispose]()
      return
    }
    // Begun here and now, so that events are handed over in the order in which they came.
    const work = this.#begin(request)
    void this.#finish(request, work, slot)
  }

  async #begin(request: Request): Promise<unknown> {
    const { role, peer, refused } = this.#parts
    const standing = role()
    if (standing == null) throw new PeerNotFoundError(peer, 'it is no member of this cluster any more')
    const handler = this.#parts.handler()
    if (handler == null) throw new UnavailableError('the agent there is starting; ask again in a moment')
    switch (request.type) {
      case 'ask':
        return handler.ask(request.what, request.path, { of: request.of, role: standing })
      case 'send':
      case 'tell':
        if (standing !== 'admin') {
          refused('forbidden')
          throw new ForbiddenError(
            `only an admin may send events to actors of other peers, and ${peer} is a ${standing} there; use that host's own agent`,
            { role: standing }
          )
        }
        return handler.send(request.path, request.event, `${request.by} at ${peer}`)
      default:
        return this.#watch(request as Extract<Request, { type: 'watch' | 'monitor' }>, handler)
    }
  }

  #watch(request: Extract<Request, { type: 'watch' | 'monitor' }>, handler: ActorHandler): null {
    const { type, id } = request
    if (this.#watches.size >= actorWatchesPerPeerMax || this.#watches.has(id)) {
      this.#parts.refused('limit')
      throw new UnavailableError(
        `this peer has ${actorWatchesPerPeerMax} watches open there already; close one and try again`
      )
    }
    const release =
      type === 'watch'
        ? handler.watch(request.path, (key, update) =>
            this.#updates.push(`${id} ${key}`, () => replies.update(id, update))
          )
        : handler.monitor(request.path, (notice) => {
            this.#watches.delete(id)
            this.#updates.push(`${id}`, () => replies.ended(id, notice))
          })
    if (this.#closed) release()
    else this.#watches.set(id, release)
    return null
  }

  /** Writes the answer or the refusal; the slot is free again once the peer's side has taken it. */
  async #finish({ type, id }: Request, work: Promise<unknown>, slot: Disposable): Promise<void> {
    const { channel } = this.#parts
    using _ = slot
    try {
      const answer = await work.then(
        (value) => ({ value }),
        (error: unknown) => ({ error })
      )
      if (type === 'tell') return
      if ('error' in answer) {
        const status = answer.error instanceof ArcticError ? answer.error.status : undefined
        await channel.send(replies.refusal(id, { ...toErrorBody(answer.error), status }))
      } else {
        for (const part of replies.answer(id, answer.value)) await channel.send(part)
      }
    } catch (error) {
      // The peer has gone, or the answer cannot be told: the stream is of no use any more.
      channel.abort(error as Error)
    }
  }
}

/** Too long, cut short, or begun and not ended in time: the words of the other side, not the end of its connection. */
const isMisspoken = (error: unknown): boolean =>
  error instanceof RangeError || error instanceof MisspokenError || error instanceof TimedOutError
