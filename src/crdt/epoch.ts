import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { encodeEpoch, type AuthEntry } from './authlog.ts'
import { sizeOf } from './bytes.ts'
import type { Cluster } from './cluster.ts'
import type { Entry } from './entries.ts'
import { epochEveryShare, epochTailMax, epochTurnMs, snapshotBytesMax } from './limits.ts'
import type { PeerId } from './schema.ts'
import { digestOf, NOWHERE } from './snapshot.ts'
import type { Storage } from './storage.ts'

/**
 * Epochs: an admin signs what the history has come to, so that who joins can serve before it has verified all of it.
 *
 * 1. A snapshot is made of one instant of memory and kept beside the log; its digest goes into the auth log, signed. The
 *    entry makes nothing valid or invalid, and is believed only until the history behind it has been verified.
 * 2. One is due when the history has grown by so much since the newest one that counts. Of all admins it is the turn of
 *    the one whose id, hashed with that newest one, comes first; the next one follows only if nothing happens.
 * 3. Who admits a peer hands over its own newest one, and signs another one first when too much has come since.
 */
export class Epochs {
  readonly #cluster: Cluster
  readonly #deps: EpochDeps
  /** Entries held before which nothing can be due. */
  #dueAt = 0
  #waiting = false
  #signing: Promise<Entry> | null = null

  constructor(cluster: Cluster, deps: EpochDeps) {
    this.#cluster = cluster
    this.#deps = deps
    this.#dueAt = deps.every
  }

  /** To be called whenever something has become durable. */
  consider(): void {
    if (this.#waiting || !this.#isDue()) return
    const turn = turnOf(this.#deps.self, this.#admins(), this.#newest()?.hash ?? this.#cluster.genesis.clusterId)
    if (turn < 0) {
      // Not for this peer to do. It may become an admin; there is no hurry in that.
      this.#dueAt = this.#cluster.ledger.entries.length + epochTailMax
      return
    }
    const { clock, signal, log } = this.#deps
    this.#waiting = true
    clock
      .sleep(turn * epochTurnMs, { signal })
      .then(() => (this.#isDue() && this.#admins().includes(this.#deps.self) ? this.sign() : null))
      .catch((error: unknown) => {
        if (!signal.aborted) log.warn({ error }, 'no epoch could be signed; it is tried again later')
        this.#dueAt = this.#cluster.ledger.entries.length + epochTailMax
      })
      .finally(() => (this.#waiting = false))
  }

  /** Signs what the history has come to by now. UnavailableError. */
  sign(): Promise<Entry> {
    this.#signing ??= this.#sign().finally(() => (this.#signing = null))
    return this.#signing
  }

  /** The snapshot for a peer that joins; null when the history is verified sooner than one is made. */
  async forJoiner(): Promise<Uint8Array | null> {
    const { length } = this.#cluster.ledger.entries
    const held = await this.#held()
    if (held != null && length - held.entry.index <= epochTailMax) return held.file
    if (length < this.#deps.every) return null
    await this.sign()
    return (await this.#held())?.file ?? null
  }

  async #sign(): Promise<Entry> {
    const { storage, log } = this.#deps
    const { ledger } = this.#cluster
    const captured = await this.#cluster.captureWhole()
    const { count: entries, last } = captured
    const file = captured.encode({ segments: 0, bytes: 0 }, () => NOWHERE)
    const bytes = sizeOf(file)
    if (bytes > snapshotBytesMax) {
      throw new UnavailableError(`the snapshot has ${bytes} bytes, and nobody takes over more than ${snapshotBytesMax}`)
    }
    await storage.writeEpoch(file)
    await this.#cluster.ready()
    // What it was made of may have been taken back meanwhile, by a disk that refused.
    if (ledger.entries.at(entries - 1)?.hash !== last)
      throw new UnavailableError('the state has changed under the epoch; ask again')
    const digest = digestOf(file)
    const hash = await this.#cluster.authorize((previous) => encodeEpoch({ previous, entries, bytes, digest }))
    log.info({ epoch: hash, entries, bytes }, 'signed what the history has come to')
    return this.#cluster.ledger.get(hash) as Entry
  }

  /** The snapshot that is kept here, if an epoch of this peer's own that counts is of it. */
  async #held(): Promise<{ entry: Entry; file: Uint8Array } | null> {
    const file = await this.#deps.storage.readEpoch()
    if (file == null) return null
    const digest = digestOf(file)
    const entry = this.#find((epoch, { authorId }) => authorId === this.#deps.self && epoch.digest === digest)
    return entry == null ? null : { entry, file }
  }

  #isDue(): boolean {
    const { length } = this.#cluster.ledger.entries
    if (length < this.#dueAt || this.#cluster.isHollow) return false
    const newest = this.#newest()
    this.#dueAt = (newest == null ? 0 : newest.index + 1) + Math.max(this.#deps.every, length * epochEveryShare)
    return length >= this.#dueAt
  }

  #newest(): Entry | null {
    return this.#find(() => true)
  }

  #find(fits: (epoch: Epoch, entry: Entry) => boolean): Entry | null {
    const { ledger, fold } = this.#cluster
    const found = ledger
      .authEntries()
      .findLast(
        (entry) => entry.auth.operation === 'epoch' && fits(entry.auth, entry) && fold.reasonAgainst(entry) == null
      )
    return found ?? null
  }

  #admins(): PeerId[] {
    const { members } = this.#cluster.fold.membership
    return [...members].flatMap(([peer, { role }]) => (role === 'admin' ? [peer] : []))
  }
}

export type Epoch = Extract<AuthEntry, { operation: 'epoch' }>

export interface EpochDeps {
  self: PeerId
  clock: Clock
  log: Logger
  storage: Storage
  /** Entries since the last one that make the next one. */
  every: number
  signal: AbortSignal
}

/** How many admins come before `self` after the epoch `last`; -1 for who is none. Another order after each epoch. */
export function turnOf(self: PeerId, admins: readonly PeerId[], last: string): number {
  const rank = (peer: PeerId): string => createHash('sha256').update(`${last} ${peer}`).digest('hex')
  const own = rank(self)
  return admins.includes(self) ? admins.filter((peer) => rank(peer) < own).length : -1
}
