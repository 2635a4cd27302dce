import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import type { Disk } from '../../src/crdt/disk.ts'
import type { Saver } from '../../src/crdt/document-aside.ts'
import type { Entry } from '../../src/crdt/entries.ts'
import { bodyOf } from '../../src/crdt/envelope.ts'
import { Fold } from '../../src/crdt/fold.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import { Intake } from '../../src/crdt/intake.ts'
import { Ledger } from '../../src/crdt/ledger.ts'
import type { Membership } from '../../src/crdt/membership.ts'
import { signerFromSeed, type Signer } from '../../src/crdt/signer.ts'
import { Replica } from '../../src/crdt/replica.ts'
import type { PeerRecord, Role, ServiceInput } from '../../src/crdt/schema.ts'
import { membersOf } from '../../src/crdt/validity.ts'
import type { View } from '../../src/crdt/view.ts'
import { silentLogger } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { MemoryScratch } from './support/memory-scratch.ts'

/** Directories and replicas of one test, all gone after `clean`. */
export class Bench {
  readonly #dirs: string[] = []
  readonly #replicas: Replica[] = []
  readonly #dirOf = new Map<Replica, string>()

  async dir(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'arctic-crdt-'))
    this.#dirs.push(dir)
    return dir
  }

  async open(
    dir: string,
    signer: Signer,
    disk?: Disk,
    snapshotEvery?: number,
    epochEvery?: number,
    saver?: Saver
  ): Promise<Replica> {
    const given = {
      ...(saver == null ? {} : { saver }),
      ...(disk == null ? {} : { disk }),
      ...(snapshotEvery == null ? {} : { snapshotEvery }),
      ...(epochEvery == null ? {} : { epochEvery })
    }
    const [clock, random, log] = [systemClock, systemRandom, silentLogger]
    const replica = await Replica.open({ dir, signer, clock, random, log, ...given })
    this.#replicas.push(replica)
    this.#dirOf.set(replica, dir)
    return replica
  }

  dirOf(replica: Replica): string {
    return this.#dirOf.get(replica) ?? ''
  }

  /** A replica with a directory of its own that has founded a cluster. */
  async founder(n = 1): Promise<Replica> {
    const replica = await this.open(await this.dir(), signer(n))
    await replica.init({ name: 'test', record: peerRecord(replica.self, `peer-${n}`) })
    return replica
  }

  /** A replica that has joined the cluster of `by`. */
  async joiner(by: Replica, n: number, role: Role = 'admin'): Promise<Replica> {
    const replica = await this.open(await this.dir(), signer(n))
    const token = invite(by, 1, 60_000, role)
    await by.admit({ token, peer: replica.self, name: `peer-${n}` })
    await replica.adopt({ ...by.bootstrap(), token })
    await replica.putPeer(peerRecord(replica.self, `peer-${n}`))
    return replica
  }

  async clean(): Promise<void> {
    for (const replica of this.#replicas.splice(0)) await replica.close()
    for (const dir of this.#dirs.splice(0)) await rm(dir, { recursive: true, force: true })
  }
}

export const signer = (n: number): Signer => signerFromSeed(new Uint8Array(32).fill(n))

export const invite = (by: Replica, uses = 1, ttlMs = 60_000, role: Role = 'admin'): string =>
  by.createInvite({ ttlMs, uses, role, addresses: ['/ip4/127.0.0.1/tcp/7946'] })

export const peerRecord = (id: string, name: string): PeerRecord => ({
  id,
  name,
  mesh_addresses: ['/ip4/127.0.0.1/tcp/7946'],
  data_addresses: ['127.0.0.1:7947', '[fd00::1]:7947'],
  pegasus_key: Buffer.alloc(32, 1).toString('base64'),
  tempest_key: Buffer.alloc(32, 2).toString('base64'),
  version: '0.1.0'
})

export const serviceInput = (source: Replica, target: Replica, more: Partial<ServiceInput> = {}): ServiceInput => ({
  source_peer_id: source.self,
  target_peer_id: target.self,
  ...more
})

/** Brings `to` what it misses of `from`, as anti-entropy does. */
export async function pull(to: Replica, from: Replica, chunkBytes = 64 * 1024): Promise<void> {
  for (const chunk of from.missing(to.vector(), chunkBytes)) await to.receive(chunk, from.self)
}

/** What must be equal on peers that hold the same envelopes. */
export function state(replica: Replica): unknown {
  const { cluster, members, services, routes, routesOf, heads } = replica.view()
  const byId = [...members].sort(([a], [b]) => (a < b ? -1 : 1))
  return { cluster, members: byId, services: [...services], routes: [...routes], routesOf: [...routesOf], heads }
}

/** So few that a short history is in its file nearly whole. */
const smallPages = { rowsPerPage: 4, heldMax: 2 }

/** A peer without a disk: what the replica does with envelopes, and nothing else. */
export class Observer {
  readonly #ledger: Ledger
  readonly #intake: Intake
  readonly #fold: Fold

  constructor(genesis: Uint8Array, rule: typeof membersOf = membersOf) {
    const sizes = { rows: smallPages, links: smallPages }
    this.#ledger = new Ledger(parseGenesis(genesis), () => new MemoryScratch(), sizes)
    this.#intake = new Intake(this.#ledger)
    this.#fold = new Fold(this.#ledger, 'ee'.repeat(36), (entry) => bodyOf(entry.bytes as Uint8Array), { rule })
  }

  take(batch: Uint8Array[]): Array<ReturnType<Intake['take']>> {
    const added: Entry[] = []
    const outcomes = batch.map((bytes) => this.#intake.take(bytes, added))
    if (added.length > 0) this.#fold.integrate(added)
    return outcomes
  }

  get view(): View {
    return this.#fold.view
  }

  get membership(): Membership {
    return this.#fold.membership
  }
}
