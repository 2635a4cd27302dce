import { asCaller } from '../caller.ts'
import type { Logger } from '../log.ts'
import type { Cluster } from './cluster.ts'
import type { FieldValue, Kind } from './document.ts'
import type { Intent } from './intent.ts'
import { reissueRecordsMax } from './limits.ts'
import { reissueOf } from './reissue.ts'
import type { PeerId } from './schema.ts'

/** Writes again, in the background, what of this peer's own has fallen out through no fault of its own. */
export class Mending {
  readonly #cluster: Cluster
  readonly #deps: { self: PeerId; log: Logger }
  #state: 'no' | 'yes' | 'busy' = 'no'

  constructor(cluster: Cluster, deps: { self: PeerId; log: Logger }) {
    this.#cluster = cluster
    this.#deps = deps
  }

  /** To be called when something may have fallen out. */
  consider(): void {
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
    const wishes = intents.map(({ kind, id, removed, made, fields }) =>
      removed && !made ? { kind, id } : { kind, id, fields: Object.fromEntries(fields) }
    )
    asCaller(null, () => this.#write(wishes)).catch((error: unknown) => {
      this.#deps.log.error({ error }, 'what was written on top of the snapshot could not be written again')
    })
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
