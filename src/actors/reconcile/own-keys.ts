import type { Clock, Timer } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { Dataplane } from '../../dataplane/desired.ts'
import type { Logger } from '../../log.ts'
import type { KeyRingPort, KeySettings } from '../ports.ts'
import { keysLookMaxMs, keysNotedEveryMs, keysRetryMs } from '../limits.ts'

export interface OwnKeysOptions {
  ring: KeyRingPort
  dataplane: Pick<Dataplane, 'setKeys'>
  clock: Clock
  log: Logger
  self: PeerId
  settings: () => KeySettings
  /** Own services, by the peer at their other end. */
  shared: () => Iterable<readonly [ServiceId, PeerId]>
  /** Whether a peer says that it has this service in force as the view has it. */
  hasInForce: (peer: PeerId, service: ServiceId) => boolean
  /** Keys were changed, or are in force now: this peer's record may have to say so. */
  onChange: () => void
}

/**
 * Changes this peer's data-plane keys without a flow noticing:
 *
 * 1. New keys are made and written down, those before kept beside them.
 * 2. The engines take both. Only then the peer's record tells the new public keys, and that the others are good still.
 * 3. A peer that reports a service with them in force knows them: handshakes with it are begun with the new keys.
 * 4. When the overlap is over, those before are erased, on disk, in the engines, in the record. Who was away meanwhile
 *    learns of the new keys as soon as it hears of anything.
 *
 * The same steps are gone from wherever a start finds them.
 */
export class OwnKeys {
  readonly #options: OwnKeysOptions
  /** Peers that have the newest keys in force. */
  #known = new Set<PeerId>()
  #inForce = false
  #telling = false
  #tellAgain = false
  #timer: Timer | null = null
  #notedMs: number
  #stopped = false

  constructor(options: OwnKeysOptions) {
    this.#options = options
    this.#notedMs = options.ring.ageMs
  }

  start(): void {
    void this.#tell()
    this.#tick()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** The settings may be others. */
  reconsider(): void {
    this.#tick()
  }

  /** What the record says of the keys may be said. Without a change there is nothing to wait for. */
  inForce = (): boolean => this.#inForce || this.#options.ring.before == null

  /** Ms until the keys before are erased; null when there are none. */
  get overlapLeftMs(): number | null {
    const { ring, settings } = this.#options
    return ring.before == null ? null : Math.max(0, settings().overlapMs - ring.ageMs)
  }

  /** Begins a change. ConflictError while one is under way, UnavailableError when the disk refuses. */
  async rotate(why: string): Promise<void> {
    const { ring, log, onChange } = this.#options
    await ring.rotate()
    this.#inForce = false
    this.#known = new Set()
    this.#notedMs = 0
    log.info({ why, pegasus_key: ring.current.pegasus.publicKey }, 'the data-plane keys of this peer are changed')
    await this.#tell()
    onChange()
    this.#tick()
  }

  /** Somebody may have taken the newest keys over. */
  look(view: View): void {
    const { ring, shared, hasInForce, self } = this.#options
    if (ring.before == null || !this.inForce() || this.#stopped) return
    if (view.members.get(self)?.record?.pegasus_key !== ring.current.pegasus.publicKey) return
    let news = false
    for (const [service, peer] of shared()) {
      if (this.#known.has(peer) || !hasInForce(peer, service)) continue
      this.#known.add(peer)
      news = true
    }
    if (news) void this.#tell()
  }

  /** The data plane gets the keys as they are now, once more when they change meanwhile, until it has them. */
  async #tell(): Promise<void> {
    const { ring, dataplane, clock, log, onChange } = this.#options
    this.#tellAgain = true
    if (this.#telling) return
    this.#telling = true
    try {
      while (this.#tellAgain && !this.#stopped) {
        this.#tellAgain = false
        const newest = ring.current
        const keys = {
          newest: privateOf(newest),
          before: ring.before == null ? null : privateOf(ring.before),
          known: new Set(this.#known)
        }
        const taken = await dataplane.setKeys(keys)
        if (newest !== ring.current) continue
        if (taken !== this.#inForce) {
          this.#inForce = taken
          if (taken) onChange()
        }
        if (!taken) clock.after(keysRetryMs, () => void this.#tell())
      }
    } catch (error) {
      log.error({ error }, 'the data plane did not take its keys; it is told again')
      clock.after(keysRetryMs, () => void this.#tell())
    } finally {
      this.#telling = false
    }
  }

  /** Whatever is due by time alone. */
  #tick(): void {
    this.#timer?.cancel()
    if (this.#stopped) return
    void this.#due()
      .catch((error: unknown) => {
        this.#options.log.warn({ error }, 'the data-plane keys could not be changed; it is tried again')
        return keysRetryMs
      })
      .then((waitMs) => {
        if (!this.#stopped) this.#timer = this.#options.clock.after(waitMs, () => this.#tick())
      })
  }

  async #due(): Promise<number> {
    const { ring, settings, log, onChange } = this.#options
    if (this.overlapLeftMs === 0) {
      await ring.erase()
      log.info({}, 'the data-plane keys before the last change are erased')
      await this.#tell()
      onChange()
    }
    const { maxAgeMs } = settings()
    if (ring.before == null && maxAgeMs != null && ring.ageMs >= maxAgeMs) await this.rotate('age')
    else if (ring.ageMs - this.#notedMs >= keysNotedEveryMs) {
      await ring.note()
      this.#notedMs = ring.ageMs
    }
    const next = this.overlapLeftMs ?? (maxAgeMs == null ? Infinity : maxAgeMs - ring.ageMs)
    return Math.max(10, Math.min(next, keysLookMaxMs))
  }
}

const privateOf = ({ pegasus, tempest }: KeyRingPort['current']): { pegasus: string; tempest: string } => ({
  pegasus: pegasus.privateKey,
  tempest: tempest.privateKey
})
