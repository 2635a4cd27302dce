import type { Clock, Timer } from '../../clock.ts'
import type { PeerId, PeerRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { Logger } from '../../log.ts'
import { applyRetryMaxMs, applyRetryMinMs, ownRecordEveryMs } from '../limits.ts'
import type { ReplicaPort } from '../ports.ts'

export interface OwnRecordOptions {
  replica: Pick<ReplicaPort, 'view' | 'putPeer'>
  clock: Clock
  log: Logger
  self: PeerId
  selfRecord: () => PeerRecord
  /** The engines have the keys that the record would tell of. Nobody may hear of a key before. */
  keysInForce: () => boolean
}

/**
 * Keeps this peer's record in the view saying what this process is: addresses, keys, version. The name is the record's
 * once there is one, since `peers rename` changes it there. Looks when the record has changed, when it is told that the
 * process has (`changed`), and now and then, since addresses change without a word.
 */
export class OwnRecord {
  readonly #options: OwnRecordOptions
  #writing = false
  #changedMeanwhile = false
  #failures = 0
  #timer: Timer | null = null
  #regular: Timer | null = null
  /** As it was when it was last found to be right; null when that is not known any more. */
  #right: PeerRecord | null = null
  #stopped = false

  constructor(options: OwnRecordOptions) {
    this.#options = options
  }

  start(): void {
    this.#regular = this.#options.clock.every(ownRecordEveryMs, () => this.changed())
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#regular?.cancel()
  }

  changed(): void {
    this.#right = null
    this.look(this.#options.replica.view())
  }

  look(view: View): void {
    const member = view.members.get(this.#options.self)
    if (member?.record != null && member.record === this.#right) return
    if (this.#writing) this.#changedMeanwhile = true
    if (member == null || this.#writing || this.#timer != null || this.#stopped) return
    if (!this.#options.keysInForce()) return
    const now = this.#options.selfRecord()
    const wanted = { ...now, name: member.record?.name ?? now.name }
    if (member.record == null || !sameRecord(member.record, wanted)) void this.#write(wanted)
    else this.#right = member.record
  }

  async #write(record: PeerRecord): Promise<void> {
    const { replica, log, clock, self } = this.#options
    this.#writing = true
    try {
      await replica.putPeer(record)
      const read = replica.view().members.get(self)?.record
      // Written again at once, without end, it would keep this agent from everything else.
      if (read != null && !sameRecord({ ...read, name: record.name }, record)) {
        throw new Error('the record reads otherwise than it was written')
      }
      this.#failures = 0
    } catch (error) {
      if (this.#stopped) return
      log.warn({ error }, 'this peer could not publish its own record; it tries again')
      this.#timer = clock.after(Math.min(applyRetryMinMs * 2 ** this.#failures++, applyRetryMaxMs), () => {
        this.#timer = null
        this.look(replica.view())
      })
    } finally {
      this.#writing = false
    }
    if (!this.#changedMeanwhile) return
    this.#changedMeanwhile = false
    this.look(replica.view())
  }
}

const sameRecord = (a: PeerRecord, b: PeerRecord): boolean =>
  a.name === b.name &&
  a.version === b.version &&
  a.pegasus_key === b.pegasus_key &&
  a.tempest_key === b.tempest_key &&
  a.keys_made_at === b.keys_made_at &&
  (a.keys_before ?? []).join() === (b.keys_before ?? []).join() &&
  a.mesh_addresses.join() === b.mesh_addresses.join() &&
  a.data_addresses.join() === b.data_addresses.join()
