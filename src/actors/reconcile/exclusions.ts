import type { PeerId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import { authHeadsKeptMax } from '../limits.ts'

/**
 * Who knows of whose exclusion. A member that announces an auth head has taken in all revocations and departures behind
 * it, and keeps those peers out from then on. What was confirmed once stays so: the auth log only grows.
 */
export class Exclusions {
  /** Who was gone as of each auth head that this peer has had; the newest last. */
  readonly #goneAt = new Map<string, readonly PeerId[]>()
  /** By the peer that is gone, the members that know it. */
  readonly #confirmed = new Map<PeerId, Set<PeerId>>()

  /** This peer has another view. `headsOf`: what each member announced last, which may have been ahead of this peer. */
  seen({ cluster, authHead, departed, members }: View, headsOf: (peer: PeerId) => readonly string[] | null): void {
    if (cluster == null) {
      this.#goneAt.clear()
      this.#confirmed.clear()
    }
    if (authHead == null || departed == null || departed.size === 0 || this.#goneAt.has(authHead)) return
    this.#goneAt.set(authHead, [...departed.keys()])
    for (const [oldest] of this.#goneAt) {
      if (this.#goneAt.size <= authHeadsKeptMax) break
      this.#goneAt.delete(oldest)
    }
    for (const member of members.keys()) this.heard(member, headsOf(member))
  }

  /** A member has announced the heads of its document. */
  heard(member: PeerId, heads: readonly string[] | null): void {
    for (const head of heads ?? []) {
      for (const gone of this.#goneAt.get(head) ?? []) {
        const by = this.#confirmed.get(gone)
        if (by == null) this.#confirmed.set(gone, new Set([member]))
        else by.add(member)
      }
    }
  }

  confirmedBy(gone: PeerId): ReadonlySet<PeerId> {
    return this.#confirmed.get(gone) ?? NOBODY
  }
}

const NOBODY: ReadonlySet<PeerId> = new Set()
