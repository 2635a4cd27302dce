import type { PeerId } from '../../crdt/schema.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import { connectGraceMs } from '../limits.ts'
import type { Reach } from './phase.ts'

/** Whether a peer answers; one that never did since it became known gets a moment before that counts as a fault. */
export class Reachability {
  readonly #mesh: Pick<Mesh, 'self' | 'isReachable'>
  readonly #monotonic: () => number
  readonly #knownSince = new Map<PeerId, number>()
  /** Peers for which the grace is over: they answered once, or never did. */
  readonly #settled = new Set<PeerId>()

  constructor(mesh: Pick<Mesh, 'self' | 'isReachable'>, monotonic: () => number) {
    this.#mesh = mesh
    this.#monotonic = monotonic
  }

  of(peer: PeerId): Reach {
    if (peer === this.#mesh.self) return 'reachable'
    if (this.#mesh.isReachable(peer)) {
      this.#settled.add(peer)
      this.#knownSince.delete(peer)
      return 'reachable'
    }
    if (this.#settled.has(peer)) return 'unreachable'
    const now = this.#monotonic()
    const since = this.#knownSince.get(peer) ?? now
    this.#knownSince.set(peer, since)
    return now - since < connectGraceMs ? 'connecting' : 'unreachable'
  }

  /** Peers whose grace has run out by `now` (monotonic ms) and that were not asked about since. */
  due(now: number): PeerId[] {
    const due: PeerId[] = []
    for (const [peer, since] of this.#knownSince) {
      if (now - since < connectGraceMs) continue
      due.push(peer)
      this.#settled.add(peer)
      this.#knownSince.delete(peer)
    }
    return due
  }

  /** Monotonic ms at which the next grace ends; null when nobody is being waited for. */
  nextDeadline(): number | null {
    let next: number | null = null
    for (const since of this.#knownSince.values()) {
      const at = since + connectGraceMs
      if (next == null || at < next) next = at
    }
    return next
  }

  forget(peer: PeerId): void {
    this.#knownSince.delete(peer)
    this.#settled.delete(peer)
  }
}
