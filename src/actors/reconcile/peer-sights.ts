import type { Clock } from '../../clock.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { Mesh, ServiceReport } from '../../mesh/mesh.ts'
import { askedFreshMs } from '../limits.ts'
import type { Reach } from './phase.ts'
import { Reachability } from './reach.ts'
import { sameFacts } from './report.ts'

/** What was seen of each peer at the last look, so that only what differs since is worth an evaluation. */
export class PeerSights {
  readonly #mesh: Mesh
  readonly #clock: Clock
  readonly reachability: Reachability
  readonly #reach = new Map<PeerId, Reach>()
  readonly #reports = new Map<PeerId, ReadonlyMap<ServiceId, ServiceReport>>()
  /** When each peer answered for its services last, monotonic ms. */
  readonly #askedAt = new Map<PeerId, number>()

  constructor(mesh: Mesh, clock: Clock) {
    this.#mesh = mesh
    this.#clock = clock
    this.reachability = new Reachability(mesh, () => clock.monotonic())
  }

  /** Whether the peer's reach is another than at the last {@link looked}. */
  moved(peer: PeerId): boolean {
    return this.#reach.get(peer) !== this.reachability.of(peer)
  }

  /** The peer's reach, and whether it is another one than the last time. */
  looked(peer: PeerId): { reach: Reach; moved: boolean } {
    const reach = this.reachability.of(peer)
    const moved = this.#reach.get(peer) !== reach
    this.#reach.set(peer, reach)
    return { reach, moved }
  }

  /** The services about which the peer says something else than the last time; counters do not count. */
  news(peer: PeerId): ServiceId[] {
    const before = this.#reports.get(peer)
    const now = this.#mesh.report(peer)
    this.#reports.set(peer, now)
    const news = [...now].filter(([id, report]) => !sameFacts(before?.get(id), report)).map(([id]) => id)
    for (const id of before?.keys() ?? []) if (!now.has(id)) news.push(id)
    return news
  }

  asked(peer: PeerId): void {
    this.#askedAt.set(peer, this.#clock.monotonic())
  }

  /** Whether the peer was asked so lately that its silence about a service means something. */
  askedLately(peer: PeerId): boolean {
    return this.#clock.monotonic() - (this.#askedAt.get(peer) ?? -Infinity) < askedFreshMs
  }

  forget(peer: PeerId): void {
    this.reachability.forget(peer)
    this.#reach.delete(peer)
    this.#reports.delete(peer)
    this.#askedAt.delete(peer)
  }
}
