import type { Role } from '../../../src/crdt/schema.ts'
import type { Mesh, PeerPresence, ServiceReport, SyncOutcome } from '../../../src/mesh/mesh.ts'
import { FakePeerActors } from './peer-actors.ts'
import type { Twin } from '../../../src/mesh/presence/twins.ts'
import type { Refused } from '../../../src/mesh/refusals.ts'

/** Several meshes in one process that reach each other as a test says, and fetch each other's reports. */
export class FakeWire {
  readonly meshes = new Map<string, FakeMesh>()
  readonly #cut = new Set<string>()

  connected(a: string, b: string): boolean {
    return this.meshes.has(a) && this.meshes.has(b) && !this.#cut.has(pair(a, b))
  }

  cut(a: string, b: string): void {
    this.#cut.add(pair(a, b))
    this.changed()
  }

  heal(a: string, b: string): void {
    this.#cut.delete(pair(a, b))
    this.changed()
  }

  changed(): void {
    for (const mesh of this.meshes.values()) {
      for (const other of this.meshes.keys()) if (other !== mesh.self) mesh.tellPresence(other)
    }
  }
}

const pair = (a: string, b: string): string => [a, b].sort().join('|')

export class FakeMesh implements Mesh {
  readonly self: string
  readonly actors: FakePeerActors
  readonly #wire: FakeWire
  readonly presenceListeners = new Set<(presence: PeerPresence) => void>()
  readonly reportListeners = new Set<(peer: string) => void>()
  readonly #held = new Map<string, ReadonlyMap<string, ServiceReport>>()
  /** Whether reports of others come by themselves; a third peer may be behind. */
  announces = true
  own: ReadonlyMap<string, ServiceReport> = new Map()
  published = 0
  /** How far this peer's clock is behind everybody else's, as they see it. */
  clockBehindMs: number | null = null
  refreshed: string[] = []
  joined: string[] = []
  copies: Twin[] = []
  isMember: (peer: string) => boolean = () => true
  heads: (peer: string) => readonly string[] | null = () => null
  onJoin: (token: string) => Promise<void> = async () => {}

  constructor(self: string, wire: FakeWire) {
    this.self = self
    this.#wire = wire
    this.actors = new FakePeerActors(self, wire)
    wire.meshes.set(self, this)
  }

  refusals(): readonly Refused[] {
    return []
  }

  twins(): readonly Twin[] {
    return this.copies
  }

  peers(): PeerPresence[] {
    return [...this.#wire.meshes.keys()].map((id) => this.#presence(id))
  }

  isReachable(id: string): boolean {
    return this.peer(id)?.reachable === true
  }

  peer(id: string): PeerPresence | null {
    return this.#wire.meshes.has(id) ? this.#presence(id) : null
  }

  #presence(id: string): PeerPresence {
    const reachable = id === this.self || this.#wire.connected(this.self, id)
    return {
      id,
      state: this.isMember(id) ? 'admitted' : 'discovered',
      reachable,
      addresses: reachable ? ['/ip4/10.9.0.9/tcp/7946'] : [],
      rttMs: reachable ? 1 : null,
      lastSeenAt: reachable ? 1 : null,
      version: '0.1.0',
      clockBehindMs: this.#wire.meshes.get(id)?.clockBehindMs ?? null,
      heads: this.heads(id)
    }
  }

  onPresence(listener: (presence: PeerPresence) => void): () => void {
    this.presenceListeners.add(listener)
    return () => this.presenceListeners.delete(listener)
  }

  onReport(listener: (peer: string) => void): () => void {
    this.reportListeners.add(listener)
    return () => this.reportListeners.delete(listener)
  }

  report(peer: string): ReadonlyMap<string, ServiceReport> {
    return this.#held.get(peer) ?? new Map()
  }

  async refreshReport(peer: string): Promise<ReadonlyMap<string, ServiceReport>> {
    this.refreshed.push(peer)
    if (!this.#wire.connected(this.self, peer)) throw new Error(`${peer} does not answer`)
    this.fetch(peer)
    return this.report(peer)
  }

  fetch(peer: string): void {
    this.#held.set(peer, new Map(this.#wire.meshes.get(peer)!.own))
    for (const listener of this.reportListeners) listener(peer)
  }

  publishReport(reports: ReadonlyMap<string, ServiceReport>): void {
    this.own = new Map(reports)
    this.published++
    for (const other of this.#wire.meshes.values()) {
      if (other !== this && other.announces && this.#wire.connected(this.self, other.self)) other.fetch(this.self)
    }
  }

  tellPresence(peer: string): void {
    for (const listener of this.presenceListeners) listener(this.#presence(peer))
    if (this.announces && this.#wire.connected(this.self, peer)) this.fetch(peer)
  }

  async invite({ uses, role }: { ttlMs: number; uses: number; role: Role }): Promise<string> {
    return `token-${uses}-${role}`
  }

  async join(token: string): Promise<void> {
    this.joined.push(token)
    await this.onJoin(token)
  }

  async depart(): Promise<{ told: string[]; missed: string[] }> {
    const others = [...this.#wire.meshes.keys()].filter((id) => id !== this.self && this.isMember(id))
    const reached = (id: string): boolean => this.#wire.connected(this.self, id)
    return { told: others.filter(reached), missed: others.filter((id) => !reached(id)) }
  }

  async syncAll(): Promise<SyncOutcome[]> {
    return [...this.#wire.meshes.keys()]
      .filter((id) => id !== this.self)
      .map((peer) => {
        const reachable = this.#wire.connected(this.self, peer)
        return { peer, received: 0, sent: 0, error: reachable ? null : 'does not answer' }
      })
  }

  propagation(): readonly number[] {
    return [4, 1, 3, 2]
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}
