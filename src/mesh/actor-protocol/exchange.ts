import type { Clock } from '../../clock.ts'
import type { PeerId, Role } from '../../crdt/schema.ts'
import { ArcticError, PeerNotFoundError, UnavailableError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import { actorAskTimeoutMs, actorRewatchMs } from '../limits.ts'
import type { Channel, Network } from '../network.ts'
import { QuietLog } from '../quiet-log.ts'
import { ACTOR_PROTOCOL, type ActorHandler, type PeerActors, type Refusal } from './actors.ts'
import { requests, type ActorEvent, type DeathNotice, type Question } from './frame.ts'
import { Link } from './link.ts'
import { Serving } from './serving.ts'

interface Watch {
  peer: PeerId
  /** Aborts it, with the reason that whoever watches is told. */
  stopped: AbortController
}

/**
 * Actors across hosts. Towards each peer there is one stream for all that is asked there, opened when it is needed; and
 * of each peer one stream is served here, the newest, so that a peer cannot have twice of what it may have once.
 */
export class ActorExchange implements PeerActors {
  readonly #network: Network
  readonly #clock: Clock
  readonly #roleOf: (peer: PeerId) => Role | null
  readonly #quiet: QuietLog
  readonly #background: Background
  readonly #links = new Map<PeerId, Promise<Link>>()
  readonly #servings = new Map<PeerId, AbortController>()
  readonly #watches = new Set<Watch>()
  readonly #waking = new Map<PeerId, Set<() => void>>()
  readonly #refused = new Map<Refusal, number>([
    ['malformed', 0],
    ['forbidden', 0],
    ['limit', 0]
  ])
  #handler: ActorHandler | null = null
  #unsubscribe: (() => void) | null = null

  constructor(parts: { network: Network; clock: Clock; log: Logger; roleOf: (peer: PeerId) => Role | null }) {
    this.#network = parts.network
    this.#clock = parts.clock
    this.#roleOf = parts.roleOf
    const log = parts.log.module('mesh:actor')
    this.#quiet = new QuietLog(parts.clock, log)
    this.#background = new Background((error) => log.debug({ error }, 'a stream to the actors of a peer ended'))
  }

  async start(): Promise<void> {
    await this.#network.handle(ACTOR_PROTOCOL, (channel, from) => this.#serve(channel, from))
    this.#unsubscribe = this.#network.onConnect((peer) => {
      for (const wake of this.#waking.get(peer) ?? []) wake()
    })
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    for (const serving of this.#servings.values()) serving.abort(new Error('the mesh was stopped'))
    await this.#background.stop()
  }

  serve(handler: ActorHandler): void {
    this.#handler = handler
  }

  refused(): ReadonlyMap<Refusal, number> {
    return this.#refused
  }

  /** Ends what was begun with peers that are no members any more. */
  membersChanged(): void {
    for (const { peer, stopped } of this.#watches) if (this.#roleOf(peer) == null) stopped.abort(noMember(peer))
  }

  async ask(peer: PeerId, question: Question, options: { signal?: AbortSignal } = {}): Promise<unknown> {
    return this.#call(peer, (id) => requests.ask(id, question), options)
  }

  async send(
    peer: PeerId,
    { path, event, by }: { path: string; event: ActorEvent; by: string },
    options: { signal?: AbortSignal } = {}
  ): Promise<unknown> {
    return this.#call(peer, (id) => requests.send(id, path, event, by), options)
  }

  async tell(
    peer: PeerId,
    { path, event, by }: { path: string; event: ActorEvent; by: string },
    options: { signal?: AbortSignal } = {}
  ): Promise<void> {
    await this.#within(peer, options, (link, signal) =>
      unlessAborted(
        link.tell((id) => requests.tell(id, path, event, by), { signal }),
        signal
      )
    )
  }

  async watch(
    peer: PeerId,
    path: string | null,
    { onUpdate, onEnd }: { onUpdate: (update: unknown) => void; onEnd: (error: unknown) => void },
    options: { signal?: AbortSignal } = {}
  ): Promise<() => void> {
    const watch: Watch = { peer, stopped: new AbortController() }
    const begin = (options: { signal?: AbortSignal }): Promise<{ link: Link; stop: () => void }> =>
      this.#within(peer, options, async (link, signal) => {
        const frame = (id: number): Uint8Array => requests.watch(id, path)
        return { link, stop: await link.listen(frame, requests.withdraw, { onUpdate }, { signal }) }
      })
    const first = await begin(options)
    this.#watches.add(watch)
    this.#background.run(async (stopped) => {
      const ended = AbortSignal.any([stopped, watch.stopped.signal])
      try {
        for (let { link, stop } = first; ; { link, stop } = await this.#again(peer, begin, ended)) {
          await unlessAborted(link.ended, ended).catch((error: unknown) => {
            stop()
            throw error
          })
        }
      } catch (error) {
        this.#watches.delete(watch)
        if (error !== QUIETLY) onEnd(error)
      }
    })
    return () => watch.stopped.abort(QUIETLY)
  }

  async monitor(
    peer: PeerId,
    path: string,
    onEnd: (notice: DeathNotice) => void,
    options: { signal?: AbortSignal } = {}
  ): Promise<() => void> {
    return this.#within(peer, options, (link, signal) =>
      link.listen((id) => requests.monitor(id, path), requests.withdraw, { onEnd }, { signal })
    )
  }

  #call(peer: PeerId, frame: (id: number) => Uint8Array, options: { signal?: AbortSignal }): Promise<unknown> {
    return this.#within(peer, options, (link, signal) => link.ask(frame, { signal }))
  }

  /** Work on the stream to a peer that ends in time. UnavailableError when it does not. */
  async #within<T>(
    peer: PeerId,
    options: { signal?: AbortSignal },
    work: (link: Link, signal: AbortSignal) => Promise<T>
  ): Promise<T> {
    using limit = deadline(this.#clock, actorAskTimeoutMs, options)
    try {
      return await work(await unlessAborted(this.#link(peer), limit.signal), limit.signal)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!limit.signal.aborted) throw error
      throw new UnavailableError(`peer ${peer} did not answer within ${actorAskTimeoutMs / 1000} s; try again`, {
        peer
      })
    }
  }

  async #link(peer: PeerId): Promise<Link> {
    if (this.#roleOf(peer) == null) throw noMember(peer)
    const held = this.#links.get(peer)
    const link = await held?.catch(() => null)
    if (link?.closed === false) return link
    // Somebody else may have opened one meanwhile.
    const current = this.#links.get(peer)
    if (current != null && current !== held) return current
    // Whoever asked first may give up; the stream is for all who ask.
    const opening = this.#open(peer)
    this.#links.set(peer, opening)
    opening.catch(() => this.#links.get(peer) === opening && this.#links.delete(peer))
    return opening
  }

  async #open(peer: PeerId): Promise<Link> {
    const channel = await this.#network.open(peer, ACTOR_PROTOCOL, { signal: this.#background.signal })
    const link = new Link({ channel, peer, clock: this.#clock })
    this.#background.run((stopped) => link.run({ signal: stopped }))
    return link
  }

  /** Begins a watch anew until it stands; rejects when the peer refuses it, or the signal aborts. */
  async #again<T>(
    peer: PeerId,
    begin: (options: { signal: AbortSignal }) => Promise<T>,
    signal: AbortSignal
  ): Promise<T> {
    for (;;) {
      await this.#clock.sleep(actorRewatchMs, { signal })
      await this.#connected(peer, signal)
      try {
        return await begin({ signal })
      } catch (error) {
        signal.throwIfAborted()
        // What passes is tried again: the connection is gone once more, or the agent there is starting.
        if (error instanceof ArcticError && error.code !== 'unavailable') throw error
      }
    }
  }

  async #connected(peer: PeerId, signal: AbortSignal): Promise<void> {
    if (this.#network.connected().includes(peer)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const waking = this.#waking.get(peer) ?? new Set()
    this.#waking.set(peer, waking.add(resolve))
    try {
      await unlessAborted(promise, signal)
    } finally {
      waking.delete(resolve)
      if (waking.size === 0) this.#waking.delete(peer)
    }
  }

  async #serve(channel: Channel, from: PeerId): Promise<void> {
    this.#servings.get(from)?.abort(new Error('the peer has opened another stream'))
    const replaced = new AbortController()
    this.#servings.set(from, replaced)
    const serving = new Serving({
      channel,
      peer: from,
      role: () => this.#roleOf(from),
      handler: () => this.#handler,
      refused: (why) => {
        this.#refused.set(why, (this.#refused.get(why) ?? 0) + 1)
        this.#quiet.info(REFUSALS[why], { peer: from })
      }
    })
    try {
      await serving.run({ signal: replaced.signal })
    } finally {
      if (this.#servings.get(from) === replaced) this.#servings.delete(from)
    }
  }
}

const REFUSALS: Record<Refusal, string> = {
  malformed: 'a member sent what is no message of the actor protocol; its stream was closed',
  forbidden: 'a member that is no admin wanted to send an event to an actor',
  limit: 'a member wanted more watches of actors than one may have'
}

/** Who watches has ended it and needs no telling. */
const QUIETLY = new Error('the watch was ended')

const noMember = (peer: PeerId): PeerNotFoundError => new PeerNotFoundError(peer, 'it is no member of this cluster')

/** Rejects with the signal's reason when it aborts first, and leaves no listener on it. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
