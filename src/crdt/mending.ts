import { asCaller } from '../caller.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Cluster } from './cluster.ts'
import type { FieldValue, Kind } from './document.ts'
import type { Entry } from './entries.ts'
import type { Intent } from './intent.ts'
import { mendingQuietMs, mendingRoundsMax, reissueRecordsMax } from './limits.ts'
import { reissueOf } from './reissue.ts'
import type { PeerId } from './schema.ts'

/** Writes again, in the background, what of this peer's own has fallen out through no fault of its own. */
export class Mending {
  readonly #cluster: Cluster
  readonly #deps: { self: PeerId; clock: Clock; log: Logger }
  #state: 'no' | 'yes' | 'busy' = 'no'
  /** What was written on top of a snapshot that was wrong, as long as its records have not come again. */
  #owed: Owed[] = []
  #isPaying = false

  constructor(cluster: Cluster, deps: { self: PeerId; clock: Clock; log: Logger }) {
    this.#cluster = cluster
    this.#deps = deps
  }

  /** To be called when something may have fallen out. */
  consider(): void {
    this.#pay()
    const { fold } = this.#cluster
    if (fold.lost) this.#state = 'yes'
    fold.lost = false
    if (this.#state !== 'yes') return
    this.#state = 'busy'
    asCaller(null, () => this.#reissue())
      .then((waiting) => (this.#state = waiting || this.#state === 'yes' ? 'yes' : 'no'))
      .catch((error: unknown) => {
        this.#state = 'yes'
        this.#deps.log.warn({ error }, 'what fell out could not be written again; it is tried with the next change')
      })
  }

  /** As {@link consider}, for what fell out before this start. */
  begin(): void {
    this.#cluster.fold.lost = true
    this.consider()
  }

  /** What was written here on top of a snapshot that was wrong. */
  again(intents: readonly Intent[]): void {
    for (const { kind, id, removed, made, fields } of intents) {
      const wish = removed && !made ? { kind, id } : { kind, id, fields: Object.fromEntries(fields) }
      this.#owed.push({ wish, made })
    }
    this.#pay()
  }

  /**
   * 1. Waits until nothing more of the history comes in, as far as that ends: what is written before it has come is written beside it.
   * 2. A record that was made so is made again. Of one that others have made, what was written into it waits until it is there: alone it
   *    would be a record of its own under that id. One that others have removed meanwhile stays removed.
   */
  #pay(): void {
    if (this.#owed.length === 0 || this.#isPaying) return
    this.#isPaying = true
    asCaller(null, async () => {
      await this.#quiet()
      const due = this.#cluster.isLeft ? [] : this.#due()
      try {
        await this.#write(due.map(({ wish }) => wish))
      } catch (error) {
        this.#owed.unshift(...due)
        throw error
      }
    })
      .catch((error: unknown) => {
        this.#deps.log.warn(
          { error },
          'what was written on top of the snapshot could not be written again; it is tried with the next change'
        )
      })
      .finally(() => (this.#isPaying = false))
  }

  async #quiet(): Promise<void> {
    for (let round = 0; round < mendingRoundsMax; round++) {
      const { length } = this.#cluster.ledger.entries
      await this.#deps.clock.sleep(mendingQuietMs)
      if (this.#cluster.ledger.entries.length === length) return
    }
  }

  /** What can be written now; what has to wait stays owed. */
  #due(): Owed[] {
    const { fold, ledger } = this.#cluster
    const made = new Set<string>()
    const due: Owed[] = []
    this.#owed = this.#owed.filter((owed) => {
      const { kind, id } = owed.wish
      if (owed.made) made.add(`${kind}/${id}`)
      if (made.has(`${kind}/${id}`) || fold.has(kind, id)) return void due.push(owed)
      return ledger.entries.findLast(touching(kind, id)) == null
    })
    return due
  }

  async #reissue(): Promise<boolean> {
    await this.#cluster.ready()
    if (!this.#isMember()) return false
    const { ledger, fold } = this.#cluster
    const { puts, removals, waiting } = reissueOf({
      self: this.#deps.self,
      entries: ledger.entries,
      isLost: (entry) => !entry.valid && fold.isSound(entry),
      intentsOf: (entry) => this.#cluster.intentsOf(entry),
      exists: (kind, id) => fold.has(kind, id)
    })
    await this.#write([...puts, ...removals])
    return waiting
  }

  /** As far as this peer may. */
  async #write(wishes: readonly Wish[]): Promise<void> {
    await this.#cluster.ready()
    const { self, log } = this.#deps
    const isAdmin = this.#cluster.fold.membership.members.get(self)?.role === 'admin'
    const allowed = wishes.filter(({ kind, id }) => this.#isMember() && (isAdmin || (kind === 'peers' && id === self)))
    for (let i = 0; i < allowed.length; i += reissueRecordsMax) {
      const part = allowed.slice(i, i + reissueRecordsMax)
      log.info({ records: part.length }, 'writes again what fell out with what it was built on')
      await this.#cluster.ready()
      await this.#cluster.change((writer) => {
        for (const { kind, id, fields } of part) {
          if (fields == null) writer.remove(kind, id)
          else writer.put(kind, id, fields)
        }
      })
    }
  }

  #isMember(): boolean {
    return this.#cluster.fold.membership.members.has(this.#deps.self)
  }
}

interface Wish {
  kind: Kind
  id: string
  /** Left out: to be gone. */
  fields?: Record<string, FieldValue>
}

const touching =
  (kind: Kind, id: string) =>
  ({ valid, touches }: Entry): boolean =>
    valid && touches.some((touch) => touch.kind === kind && touch.id === id)

interface Owed {
  wish: Wish
  /** The wish is for a record that this peer has made. */
  made: boolean
}
