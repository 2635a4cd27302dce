import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { sizeOf } from './bytes.ts'
import type { Cluster } from './cluster.ts'
import type { Entry } from './entries.ts'
import { snapshotEveryShare } from './limits.ts'
import type { Storage } from './storage.ts'

/** Takes this peer's own snapshots, so that its next start reads what came after the last one and no more. */
export class Snapshots {
  readonly #cluster: Cluster
  readonly #deps: SnapshotsDeps
  /** Entries of the last one, or of the last attempt at one. */
  #of = 0
  #isTaking = false

  constructor(cluster: Cluster, deps: SnapshotsDeps) {
    this.#cluster = cluster
    this.#deps = deps
  }

  /** There is one of so many entries. */
  taken(entries: number): void {
    this.#of = entries
  }

  /** Puts what is stored so far away behind a snapshot, when enough has come together since the last one. */
  consider(): void {
    const { length } = this.#cluster.ledger.entries
    const { clock, snapshotEvery, log } = this.#deps
    const due = Math.max(snapshotEvery, length * snapshotEveryShare)
    if (this.#isTaking || this.#cluster.isDoubtful || this.#cluster.isHollow || length - this.#of < due) return
    this.#isTaking = true
    this.#of = length
    // Not within the write that has made it due: whoever waits for that is answered first.
    clock
      .sleep(0)
      .then(() => this.#take())
      .then((bytes) => log.info({ entries: length, bytes }, 'a snapshot was taken and the log before it archived'))
      .catch((error: unknown) => log.warn({ error }, 'no snapshot could be taken; it is tried again later'))
      .finally(() => (this.#isTaking = false))
  }

  /** Of all that memory holds, at once; written when the disk holds it too, and nothing more. Returns its size. */
  async #take(): Promise<number> {
    await this.#cluster.saveAside()
    if (this.#cluster.isLeft) throw new Error('this peer has left the cluster')
    const { entries } = this.#cluster.ledger
    const captured = this.#cluster.capture()
    let size = 0
    await this.#deps.storage.putAway((base) => {
      const { durableCount } = this.#cluster
      const { count } = captured
      if (durableCount !== count) throw new Error(`${durableCount} entries are durable, ${count} are in the snapshot`)
      const pieces = captured.encode(base, (index) => (entries.at(index) as Entry).offset)
      size = sizeOf(pieces)
      return pieces
    })
    return size
  }
}

interface SnapshotsDeps {
  clock: Clock
  log: Logger
  storage: Storage
  /** Entries behind the last one that make the next one. */
  snapshotEvery: number
}
