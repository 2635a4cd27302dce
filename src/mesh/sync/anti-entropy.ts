import { equals } from 'uint8arrays'
import type { Clock, Timer } from '../../clock.ts'
import type { EnvelopeBytes, Replicated, VersionVector } from '../../crdt/replicated.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { NotInClusterError, UnavailableError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Random } from '../../random.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import {
  forwardEnvelopesMax,
  namingTurnMs,
  questionBytesMax,
  syncBatchBytes,
  syncEveryMaxMs,
  syncEveryMinMs,
  syncLeftOutMax,
  syncRetryMs,
  syncsInMax,
  syncsInPerPeerMax,
  syncsOutMax
} from '../limits.ts'
import type { SyncOutcome } from '../mesh.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel, Network } from '../network.ts'
import { QuietLog } from '../quiet-log.ts'
import type { Refusals } from '../refusals.ts'
import { Slots } from '../slots.ts'
import { Coming, type Counted, type Delivery } from './coming.ts'
import { Doubt, lowered } from './doubt.ts'
import { frames, vectorDigest } from './frame.ts'
import { nextFrame, transfer } from './transfer.ts'

export const SYNC_PROTOCOL = '/arctic/sync/1.0.0'

type Outcome = Pick<SyncOutcome, 'received' | 'sent'>

/** One sync that has ended, and the deliveries of others on which it relied. */
type Ended = Outcome & { on: readonly Delivery[] }

/**
 * Carries the promise that all members come to hold the same: gossip may lose anything, this may not.
 *
 * 1. On connect (whoever dialled), on a gap, and every 1–5 s with a random member, the digests of both version vectors
 *    are compared. Equal: one small message each way, done.
 * 2. Else both name their vectors, first who was asked, and each sends what the other misses, at the same time. What others
 *    are handing over already counts as held (see `coming.ts`). Those that begin syncs here name theirs one after the other, so
 *    that the one before can be counted on.
 * 3. When something that came still waits then, the two may hold different things under one number; see `doubt.ts`.
 * 4. When what was counted on has not come whole, its sync is repeated, and counts on nobody.
 */
export class AntiEntropy {
  readonly #network: Network
  readonly #replica: Replicated
  readonly #clock: Clock
  readonly #random: Random
  readonly #onNews: (envelopes: EnvelopeBytes[]) => void
  readonly #onMuchNews: () => void
  readonly #agrees: (peer: PeerId) => boolean
  readonly #onRefused: (peer: PeerId) => void
  readonly #log: Logger
  readonly #quiet: QuietLog
  readonly #background: Background
  readonly #refusals: Refusals
  /** Syncs that each peer has begun here and that are under way. */
  readonly #served = new Map<PeerId, number>()
  readonly #out = new Slots(syncsOutMax)
  readonly #in = new Slots(syncsInMax)
  readonly #turns = new Map<PeerId, { running: Promise<Outcome>; next: Promise<Outcome> | null }>()
  readonly #wantedAt = new Map<PeerId, number>()
  readonly #doubt: Doubt
  readonly #coming: Coming
  readonly #naming = new Slots(1)
  #timer: Timer | null = null
  /** Regular syncs that were not needed. */
  #left = 0
  #unsubscribe: (() => void) | null = null

  constructor(parts: {
    network: Network
    replica: Replicated
    clock: Clock
    random: Random
    log: Logger
    refusals: Refusals
    /** A few envelopes that were new here: others may not have them either. */
    onNews: (envelopes: EnvelopeBytes[]) => void
    /** A peer has just said that it holds what this one does. */
    agrees: (peer: PeerId) => boolean
    /** More was new than is handed on one by one: others that lack it should sync with this peer. */
    onMuchNews: () => void
    /** A peer that this one has just dialled does not sync with it. */
    onRefused: (peer: PeerId) => void
  }) {
    this.#network = parts.network
    this.#replica = parts.replica
    this.#clock = parts.clock
    this.#random = parts.random
    this.#onNews = parts.onNews
    this.#onMuchNews = parts.onMuchNews
    this.#agrees = parts.agrees
    this.#onRefused = parts.onRefused
    this.#refusals = parts.refusals
    this.#doubt = new Doubt(parts.clock)
    this.#coming = new Coming({ clock: parts.clock, vector: () => parts.replica.vector() })
    this.#log = parts.log.module('mesh:sync')
    this.#quiet = new QuietLog(parts.clock, this.#log)
    this.#background = new Background((error) => this.#log.debug({ error }, 'a sync failed; another one follows'))
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#network.onConnect((peer, direction) => {
      if (direction === 'inbound') return
      this.#background.run((signal) =>
        this.sync(peer, { signal }).catch((error: unknown) => {
          if (!signal.aborted && this.#network.connected().includes(peer)) this.#onRefused(peer)
          throw error
        })
      )
    })
    await this.#network.handle(
      SYNC_PROTOCOL,
      this.#refusals.guard('sync', (channel, from: PeerId) => this.#serve(channel, from))
    )
    this.#schedule()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#unsubscribe?.()
    await this.#background.stop()
  }

  /** Syncs with `peer` soon, without anybody waiting; repeated wishes within `syncRetryMs` are one. */
  want(peer: PeerId): void {
    const now = this.#clock.monotonic()
    if (now - (this.#wantedAt.get(peer) ?? -Infinity) < syncRetryMs) return
    this.#wantedAt.set(peer, now)
    this.#background.run((signal) => this.sync(peer, { signal }))
  }

  /** A whole sync that begins after this call. Rejects with UnavailableError or NotInClusterError. */
  async sync(peer: PeerId, { signal }: { signal: AbortSignal }): Promise<Outcome> {
    const turn = this.#turns.get(peer)
    if (turn == null) {
      const running = this.#begin(peer, signal)
      this.#turns.set(peer, { running, next: null })
      return running
    }
    // Whoever asks during a sync shares the one after it: the running one may have missed what they know of.
    turn.next ??= turn.running.then(
      () => this.sync(peer, { signal }),
      () => this.sync(peer, { signal })
    )
    return turn.next
  }

  /** `peer` has something that does not go with what is here, though by their numbers neither lacks anything. */
  doubt(peer: PeerId): void {
    const depth = this.#doubt.next()
    if (depth == null) return
    this.#log.info({ peer, depth }, 'a member holds something else under the same number; it is asked for it')
    const mine = (): VersionVector => lowered(this.#replica.vector(), depth)
    this.#background.run((signal) => this.#with(peer, signal, mine))
  }

  async #begin(peer: PeerId, signal: AbortSignal): Promise<Outcome> {
    try {
      const first = await this.#with(peer, signal)
      if (!(await isBroken(first.on, signal))) return first
      const second = await this.#with(peer, signal, this.#plain)
      return { received: first.received + second.received, sent: first.sent + second.sent }
    } finally {
      this.#turns.delete(peer)
    }
  }

  /** One sync, from the opening of its stream to the end; `mine`: the vector that this peer names, counting on nobody. */
  async #with(peer: PeerId, signal: AbortSignal, mine: (() => VersionVector) | null = null): Promise<Ended> {
    using _ = await this.#out.take({ signal })
    const channel = await this.#network.open(peer, SYNC_PROTOCOL, { signal })
    try {
      const outcome = await this.#ask(channel, peer, mine, signal)
      void channel.close()
      return outcome
    } catch (error) {
      this.#refusals.note('sync', error)
      channel.abort(error as Error)
      throw error
    }
  }

  async #ask(channel: Channel, peer: PeerId, mine: (() => VersionVector) | null, signal: AbortSignal): Promise<Ended> {
    await channel.send(frames.digest(this.#digest(mine?.())))
    const answer = await nextFrame(channel, this.#clock, { signal })
    if (answer.type === 'same') return { received: 0, sent: 0, on: [] }
    if (answer.type === 'busy') throw new UnavailableError(`peer ${peer} is busy with other syncs`)
    if (answer.type !== 'vector')
      throw new MisspokenError('out_of_turn', `peer ${peer} sent "${answer.type}" instead of its vector`)
    const named: Counted = mine == null ? this.#coming.counted(answer.vector) : { vector: mine(), on: [] }
    const delivery = this.#coming.expect(peer, named.vector, answer.vector)
    try {
      await channel.send(frames.vector(named.vector))
      const outcome = await this.#exchange(channel, peer, answer.vector, { named, delivery, signal })
      return { ...outcome, on: named.on }
    } finally {
      delivery?.end()
    }
  }

  async #serve(channel: Channel, from: PeerId): Promise<void> {
    const { signal } = this.#background
    const served = this.#served.get(from) ?? 0
    // A peer that holds on to its streams must not keep the others from theirs.
    const slot = served >= syncsInPerPeerMax ? null : this.#in.tryTake()
    if (slot == null) {
      await channel.send(frames.busy())
      return
    }
    using _ = slot
    this.#served.set(from, served + 1)
    try {
      await this.#answer(channel, from, signal)
    } finally {
      const left = (this.#served.get(from) ?? 1) - 1
      if (left === 0) this.#served.delete(from)
      else this.#served.set(from, left)
    }
  }

  async #answer(channel: Channel, from: PeerId, signal: AbortSignal): Promise<void> {
    const question = await nextFrame(channel, this.#clock, { signal, bytesMax: questionBytesMax })
    if (question.type !== 'digest')
      throw new MisspokenError('out_of_turn', `peer ${from} began a sync with "${question.type}"`)
    if (equals(question.digest, this.#digest())) {
      await channel.send(frames.same())
      return
    }
    const { named, theirs } = await this.#nameInTurn(channel, from, { digest: question.digest, signal })
    const delivery = this.#coming.expect(from, named.vector, theirs)
    try {
      await this.#exchange(channel, from, theirs, { named, delivery, signal })
    } finally {
      delivery?.end()
    }
    if (named.on.length === 0) return
    this.#background.run(async () => {
      if (await isBroken(named.on, signal)) await this.#with(from, signal, this.#plain)
    })
  }

  async #nameInTurn(
    channel: Channel,
    from: PeerId,
    { digest, signal }: { digest: Uint8Array; signal: AbortSignal }
  ): Promise<{ named: Counted; theirs: VersionVector }> {
    using _ = await this.#turnToName(signal)
    const named = this.#coming.counted(this.#coming.known((vector) => equals(digest, this.#digest(vector))))
    await channel.send(frames.vector(named.vector))
    const answer = await nextFrame(channel, this.#clock, { signal })
    if (answer.type !== 'vector')
      throw new MisspokenError('out_of_turn', `peer ${from} sent "${answer.type}" instead of its vector`)
    return { named, theirs: answer.vector }
  }

  /** null when the one before takes too long: a peer that says nothing must not keep the others waiting. */
  async #turnToName(signal: AbortSignal): Promise<Disposable | null> {
    using limit = deadline(this.#clock, namingTurnMs, { signal })
    try {
      return await this.#naming.take({ signal: limit.signal })
    } catch {
      signal.throwIfAborted()
      return null
    }
  }

  async #exchange(
    channel: Channel,
    peer: PeerId,
    theirs: VersionVector,
    { named, delivery, signal }: { named: Counted; delivery: Delivery | null; signal: AbortSignal }
  ): Promise<Outcome> {
    let received = 0
    let waits = false
    const { sent } = await transfer(
      channel,
      this.#replica.missing(theirs, syncBatchBytes),
      async (envelopes) => {
        const result = await this.#replica.receive(envelopes, peer)
        received += result.accepted
        if (result.accepted > 0) delivery?.arrived()
        waits ||= result.gap
        // Of much, the last batch is often a small one.
        const isFew = Math.max(received, envelopes.length) <= forwardEnvelopesMax
        if (result.accepted > 0 && isFew) this.#onNews(envelopes)
        const refused = result.refused[0]
        if (refused != null) {
          this.#refusals.add('sync', 'invalid', result.refused.length)
          this.#quiet.info('a member sent entries that are not valid; they are not stored', {
            peer,
            why: refused.reason
          })
        }
      },
      { clock: this.#clock, signal }
    )
    // What others have yet to hand over may be what it waits for.
    if (waits && named.on.length === 0) this.doubt(peer)
    if (received > forwardEnvelopesMax) this.#onMuchNews()
    if (received > 0 || sent > 0) this.#log.debug({ peer, received, sent }, 'synced')
    return { received, sent }
  }

  readonly #plain = (): VersionVector => this.#replica.vector()

  #digest(vector = this.#replica.vector()): Uint8Array {
    const cluster = this.#replica.clusterId()
    if (cluster == null) throw new NotInClusterError()
    return vectorDigest(cluster, vector)
  }

  #schedule(): void {
    const ms = syncEveryMinMs + this.#random.float() * (syncEveryMaxMs - syncEveryMinMs)
    this.#timer = this.#clock.after(ms, () => {
      const connected = this.#network.connected()
      const peer = connected[Math.floor(this.#random.float() * connected.length)]
      // A beat names the same digest that a sync begins with. Now and then it is asked all the same: this is what carries
      // the promise, whatever becomes of presence.
      const isDue = peer != null && (!this.#agrees(peer) || ++this.#left % syncLeftOutMax === 0)
      if (isDue) this.want(peer)
      this.#schedule()
    })
  }
}

/** Whether one of those deliveries did not come whole; told when all have ended. */
async function isBroken(deliveries: readonly Delivery[], signal: AbortSignal): Promise<boolean> {
  if (deliveries.length === 0) return false
  const whole = await Promise.all(deliveries.map((delivery) => delivery.whole))
  signal.throwIfAborted()
  return whole.includes(false)
}
