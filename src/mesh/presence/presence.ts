import type { Clock, Timer } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Signer } from '../../crdt/signer.ts'
import type { Logger } from '../../log.ts'
import type { Random } from '../../random.ts'
import { beatCoalesceMs, beatHandedOnEvery, beatMs } from '../limits.ts'
import type { Audience, Network } from '../network.ts'
import type { Refusals } from '../refusals.ts'
import { Beacon } from './beacon.ts'
import { beatIntervalMs, beatSignedBy, encodeBeat, parseBeat, type Beat } from './beat.ts'
import type { Roster } from './roster.ts'

/** What a beat says beyond who beats when. */
export type Statement = Pick<Beat, 'version' | 'heads' | 'vector' | 'report' | 'twins'>

/** Sends this peer's beats and hears the others', on one topic per cluster. What they mean is the roster's business. */
export class Presence {
  readonly #network: Network
  readonly #signer: Signer
  readonly #clock: Clock
  readonly #incarnation: number
  readonly #members: () => number
  readonly #audience: () => Audience
  readonly #isMember: (peer: PeerId) => boolean
  readonly #statement: () => Statement
  readonly #roster: Roster
  readonly #refusals: Refusals
  readonly #onBeat: (beat: Beat) => void
  readonly #onAnyBeat: (beat: Beat) => void
  readonly #log: Logger
  readonly #beacon: Beacon
  #counter = 0
  #cluster: string | null = null
  #unsubscribe: (() => void) | null = null
  #timer: Timer | null = null
  /** What was judged last: if it is good it is taken in next. */
  #read: { message: Uint8Array; beat: Beat | null } | null = null
  readonly #newcomers = new Set<PeerId>()
  #greeting: Timer | null = null

  constructor(parts: {
    network: Network
    signer: Signer
    clock: Clock
    random: Random
    log: Logger
    refusals: Refusals
    incarnation: number
    roster: Roster
    members: () => number
    /** Who has to be told for all to know. */
    audience: () => Audience
    isMember: (peer: PeerId) => boolean
    statement: () => Statement
    onBeat: (beat: Beat) => void
    /** Signed well, yet perhaps of an earlier start of its author's agent, or of this peer itself. */
    onAnyBeat: (beat: Beat) => void
  }) {
    this.#network = parts.network
    this.#signer = parts.signer
    this.#clock = parts.clock
    this.#incarnation = parts.incarnation
    this.#roster = parts.roster
    this.#refusals = parts.refusals
    this.#members = parts.members
    this.#audience = parts.audience
    this.#isMember = parts.isMember
    this.#statement = parts.statement
    this.#onBeat = parts.onBeat
    this.#onAnyBeat = parts.onAnyBeat
    this.#log = parts.log.module('mesh:presence')
    const { clock, random, members } = parts
    this.#beacon = new Beacon({ clock, random, members, send: () => this.#send() })
  }

  start(cluster: string): void {
    this.#cluster = cluster
    this.#unsubscribe = this.#network.subscribe(this.#topic(cluster), {
      validate: (data) => this.#refusals.judged('presence', this.#validate(data)),
      deliver: (data) => this.#deliver(data),
      onSubscriber: (peer) => this.#greet(peer)
    })
    this.#timer = this.#clock.every(beatMs / 4, () => this.#roster.evaluate())
    this.#beacon.start()
  }

  stop(): void {
    this.#beacon.stop()
    this.#timer?.cancel()
    this.#greeting?.cancel()
    this.#greeting = null
    this.#newcomers.clear()
    this.#unsubscribe?.()
    this.#cluster = null
  }

  changed(): void {
    this.#beacon.changed()
  }

  headsChanged(): void {
    this.#beacon.headsChanged()
  }

  #send(): void {
    if (this.#cluster == null) return
    this.#network
      .publish(this.#topic(this.#cluster), this.#beat(this.#cluster), this.#whom())
      .catch((error: unknown) => this.#log.debug({ error }, 'a beat was not sent'))
  }

  /** Whoever can hear from now on should not wait a second for it; who else comes up meanwhile gets the same beat. */
  #greet(peer: PeerId): void {
    this.#newcomers.add(peer)
    this.#greeting ??= this.#clock.after(beatCoalesceMs, () => this.#greetAll())
  }

  #greetAll(): void {
    const newcomers = [...this.#newcomers]
    this.#newcomers.clear()
    this.#greeting = null
    if (this.#cluster == null) return
    const [topic, beat] = [this.#topic(this.#cluster), this.#beat(this.#cluster)]
    const untold = newcomers.filter((peer) => !this.#network.tell(topic, beat, peer))
    // Where one cannot be told alone all are, and in a big cluster it has to wait for that.
    if (untold.length > 0) this.#beacon.connected()
  }

  #beat(cluster: string): Uint8Array {
    const beat: Beat = {
      peer: this.#network.self,
      incarnation: this.#incarnation,
      counter: ++this.#counter,
      sentAt: this.#clock.now(),
      everyMs: beatIntervalMs(this.#members()),
      ...this.#statement()
    }
    return encodeBeat(cluster, beat, this.#signer)
  }

  /** A member that only others reach learns from what they hand on that this peer is there, and this peer of it likewise. */
  #whom(): Audience {
    const isShort = this.#network.connected().length < this.#members() - 1
    return isShort && this.#counter % beatHandedOnEvery === 0 ? 'all' : this.#audience()
  }

  /** Cheapest checks first; the signature is checked only of what would be news. */
  #validate(message: Uint8Array): 'accept' | 'ignore' | 'reject' {
    const beat = parseBeat(message)
    this.#read = { message, beat }
    if (beat == null) return 'reject'
    if (!this.#isMember(beat.peer)) return 'ignore'
    const own = beat.peer === this.#network.self
    const news = !own && this.#roster.isNews(beat)
    // What is no news may still be another agent under the same identity, which is worth a signature check.
    if (!news && beat.incarnation === (own ? this.#incarnation : this.#roster.beatOf(beat.peer)?.incarnation)) {
      return 'ignore'
    }
    if (!beatSignedBy(this.#cluster ?? '', message, beat.peer)) return 'reject'
    this.#onAnyBeat(beat)
    return news ? 'accept' : 'ignore'
  }

  #deliver(message: Uint8Array): void {
    const beat = this.#read?.message === message ? this.#read.beat : parseBeat(message)
    this.#read = null
    if (beat == null || !this.#roster.isNews(beat)) return
    this.#roster.heard(beat)
    this.#onBeat(beat)
  }

  readonly #topic = (cluster: string): string => `arctic/${cluster}/presence/1`
}
