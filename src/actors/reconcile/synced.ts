import type { Clock } from '../../clock.ts'
import type { View } from '../../crdt/view.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import { syncGraceMs } from '../limits.ts'

export const sameHeads = (a: readonly string[] | null, b: readonly string[]): boolean =>
  a != null && a.length === b.length && a.every((head, i) => head === b[i])

/**
 * Whether this peer has caught up once since it started: it held the same document as some reachable member, or there
 * is nobody to catch up with. Once true it stays true.
 */
export class Synced {
  readonly #mesh: Pick<Mesh, 'self' | 'peer'>
  readonly #clock: Clock
  readonly #startedAt: number
  #yes = false

  constructor(mesh: Pick<Mesh, 'self' | 'peer'>, clock: Clock) {
    this.#mesh = mesh
    this.#clock = clock
    this.#startedAt = clock.monotonic()
  }

  get yes(): boolean {
    return this.#yes
  }

  /** A pull from a member has ended well. */
  pulled(): void {
    this.#yes = true
  }

  look(view: View): void {
    if (this.#yes || view.cluster == null) return
    const others = [...view.members.keys()].filter((id) => id !== this.#mesh.self).map((id) => this.#mesh.peer(id))
    const reachable = others.filter((peer) => peer?.reachable === true)
    const alone = reachable.length === 0 && this.#clock.monotonic() - this.#startedAt >= syncGraceMs
    this.#yes = others.length === 0 || alone || reachable.some((peer) => sameHeads(peer?.heads ?? null, view.heads))
  }

  /** Monotonic ms at which waiting for somebody reachable ends; null when nothing is being waited for. */
  nextDeadline(): number | null {
    const at = this.#startedAt + syncGraceMs
    return this.#yes || this.#clock.monotonic() >= at ? null : at
  }
}
