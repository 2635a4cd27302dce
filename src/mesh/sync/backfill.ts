import type { Clock } from '../../clock.ts'
import type { Replicated } from '../../crdt/replicated.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { UnavailableError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Random } from '../../random.ts'
import { Background } from '../background.ts'
import { deadline } from '../deadline.ts'
import { backfillAvoidMs, backfillRetryMs, backfillTurnMs } from '../limits.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel, Network } from '../network.ts'
import type { Refusals } from '../refusals.ts'
import { SYNC_PROTOCOL } from './anti-entropy.ts'
import { frames, vectorDigest } from './frame.ts'
import { nextFrame, transfer } from './transfer.ts'

type Filled = Pick<Replicated, 'clusterId' | 'isMember' | 'behind' | 'receiveBehind' | 'behindEnded'>

/**
 * Fetches the history behind a snapshot that this peer has joined with, from whichever member is there.
 *
 * 1. A member is asked as in any sync, with what has come so far for a vector, and so hands over what is missing. It needs
 *    to know nothing of snapshots.
 * 2. Each has its turn of `backfillTurnMs`; what it has handed over by then stays. Who is slow, breaks off or sends
 *    something that is not good is counted, and not asked again for a while unless there is nobody else.
 */
export class Backfill {
  readonly #network: Pick<Network, 'self' | 'open' | 'connected'>
  readonly #replica: Filled
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Logger
  readonly #refusals: Refusals
  readonly #background: Background
  /** Monotonic ms of when a peer was last of no use. */
  readonly #avoided = new Map<PeerId, number>()
  #running = false

  constructor(parts: {
    network: Pick<Network, 'self' | 'open' | 'connected'>
    replica: Filled
    clock: Clock
    random: Random
    log: Logger
    refusals: Refusals
  }) {
    this.#network = parts.network
    this.#replica = parts.replica
    this.#clock = parts.clock
    this.#random = parts.random
    this.#log = parts.log.module('mesh:sync')
    this.#refusals = parts.refusals
    this.#background = new Background((error) => this.#log.debug({ error }, 'fetching the history has ended'))
  }

  /** Begins when something is missing, and goes on until nothing is. */
  wake(): void {
    if (this.#running || this.#replica.behind() == null) return
    this.#running = true
    this.#background.run((signal) => this.#run(signal).finally(() => (this.#running = false)))
  }

  async stop(): Promise<void> {
    await this.#background.stop()
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let behind = this.#replica.behind(); behind != null; behind = this.#replica.behind()) {
      if (behind.verified === behind.entries) {
        // It has yet to take its place; a disk that refuses is asked again.
        this.#replica.behindEnded(this.#network.self)
        await this.#clock.sleep(backfillRetryMs, { signal })
        continue
      }
      const peer = this.#next()
      const before = behind.verified
      if (peer != null) await this.#ask(peer, signal)
      if ((this.#replica.behind()?.verified ?? Infinity) > before) continue
      if (peer != null) this.#avoided.set(peer, this.#clock.monotonic())
      await this.#clock.sleep(backfillRetryMs, { signal })
    }
    this.#avoided.clear()
  }

  async #ask(peer: PeerId, signal: AbortSignal): Promise<void> {
    using turn = deadline(this.#clock, backfillTurnMs, { signal })
    try {
      const channel = await this.#network.open(peer, SYNC_PROTOCOL, { signal: turn.signal })
      try {
        await this.#exchange(channel, peer, turn.signal)
        void channel.close()
      } catch (error) {
        channel.abort(error as Error)
        throw error
      }
      this.#replica.behindEnded(peer)
    } catch (error) {
      signal.throwIfAborted()
      this.#avoided.set(peer, this.#clock.monotonic())
      this.#refusals.note('sync', error)
      this.#log.debug({ peer, error }, 'a member did not hand over the history; another one is asked')
    }
  }

  async #exchange(channel: Channel, peer: PeerId, signal: AbortSignal): Promise<void> {
    const vector = this.#replica.behind()?.vector() ?? {}
    await channel.send(frames.digest(vectorDigest(this.#replica.clusterId() ?? '', vector)))
    const answer = await nextFrame(channel, this.#clock, { signal })
    if (answer.type === 'same') return
    if (answer.type === 'busy') throw new UnavailableError(`peer ${peer} is busy with other syncs`)
    if (answer.type !== 'vector')
      throw new MisspokenError('out_of_turn', `peer ${peer} sent "${answer.type}" instead of its vector`)
    await channel.send(frames.vector(vector))
    await transfer(
      channel,
      [],
      async (envelopes) => {
        const { refused } = await this.#replica.receiveBehind(envelopes, peer)
        if (refused[0] == null) return
        this.#refusals.add('sync', 'invalid', refused.length)
        throw new UnavailableError(`peer ${peer} sent a history that is not valid: ${refused[0].reason}`)
      },
      { clock: this.#clock, signal }
    )
  }

  /** Anybody, those of no use lately only when there is nobody else. */
  #next(): PeerId | null {
    const connected = this.#network.connected().filter((peer) => this.#replica.isMember(peer))
    const now = this.#clock.monotonic()
    const fresh = connected.filter((peer) => now - (this.#avoided.get(peer) ?? -Infinity) > backfillAvoidMs)
    const among = fresh.length > 0 ? fresh : connected
    return among[Math.floor(this.#random.float() * among.length)] ?? null
  }
}
