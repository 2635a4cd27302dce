import type { Clock } from '../clock.ts'
import {
  AlreadyInClusterError,
  InviteInvalidError,
  InviteUsedError,
  NotInClusterError,
  PeerNotFoundError,
  UnavailableError
} from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { encodeAdmit } from './authlog.ts'
import { MalformedError } from './bytes.ts'
import { Cluster, type ClusterDeps } from './cluster.ts'
import type { Disk } from './disk.ts'
import { genesisChunk, isGenesisChunk } from './document.ts'
import { createGenesis, parseGenesis, type Genesis } from './genesis.ts'
import { checkInvite, createInvite, parseInvite } from './invite.ts'
import type { EnvelopeBytes, ReceiveResult, VersionVector } from './replicated.ts'
import type {
  PeerId,
  PeerRecord,
  Role,
  RouteId,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServiceId,
  ServiceInput,
  ServicePatch,
  ServiceRecord
} from './schema.ts'
import type { Signer } from './signer.ts'
import { emptyView } from './fold.ts'
import type { Bootstrap, Damage, ReceivedEnvelope, ReplicatedState } from './state.ts'
import { Storage } from './storage.ts'
import { checkInviteInput, checkName, checkPeer, checkPeerId } from './validate.ts'
import { inviteKey } from './validity.ts'
import type { View } from './view.ts'
import {
  addRoutes,
  checkNameIsFree,
  createService,
  deleteRoute,
  deleteService,
  updateRoute,
  updateService,
  writePeer
} from './writes.ts'

export interface ReplicaOptions {
  /** The agent's state directory; the replica keeps to `cluster/` in it. */
  dir: string
  signer: Signer
  clock: Clock
  random: Random
  log: Logger
  /** Left out: this host's. */
  disk?: Disk
}

/** The replicated state of one peer on its disk. See {@link ReplicatedState} for what each method promises. */
export class Replica implements ReplicatedState {
  readonly self: PeerId
  readonly #options: ReplicaOptions
  readonly #storage: Storage
  #cluster: Cluster | null = null
  /** A cluster is being founded or entered. */
  #entering = false
  #closed = false
  readonly #onView = new Set<(view: View, previous: View) => void>()
  readonly #onLocal = new Set<(envelope: EnvelopeBytes) => void>()
  readonly #onReceived = new Set<(envelope: ReceivedEnvelope) => void>()

  /** UnavailableError when the directory cannot be used, another agent uses it, or it is of a newer format. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const log = options.log.module('crdt')
    const storage = await Storage.open(options.dir, { ...options, log })
    const replica = new Replica({ ...options, log }, storage)
    try {
      await replica.#load()
    } catch (error) {
      await storage.close()
      throw error
    }
    return replica
  }

  private constructor(options: ReplicaOptions, storage: Storage) {
    this.self = options.signer.peerId
    this.#options = options
    this.#storage = storage
  }

  view(): View {
    return this.#cluster?.view ?? emptyView
  }

  clusterId(): string | null {
    return this.#cluster?.genesis.clusterId ?? null
  }

  isMember(peer: PeerId): boolean {
    return this.view().members.has(peer)
  }

  damage(): Damage | null {
    return this.#storage.damage
  }

  onView(listener: (view: View, previous: View) => void): () => void {
    return subscribe(this.#onView, listener)
  }

  onLocal(listener: (envelope: EnvelopeBytes) => void): () => void {
    return subscribe(this.#onLocal, listener)
  }

  onReceived(listener: (envelope: ReceivedEnvelope) => void): () => void {
    return subscribe(this.#onReceived, listener)
  }

  vector(): VersionVector {
    return this.#cluster?.vector() ?? {}
  }

  missing(vector: VersionVector, maxBytes: number): Iterable<EnvelopeBytes[]> {
    return this.#cluster?.missing(vector, maxBytes) ?? []
  }

  check(envelope: EnvelopeBytes): 'accept' | 'ignore' | 'reject' {
    return this.#cluster?.check(envelope) ?? 'ignore'
  }

  async receive(envelopes: EnvelopeBytes[], from: PeerId): Promise<ReceiveResult> {
    const result = await this.#inCluster().receive(envelopes)
    for (const { reason } of result.refused.slice(0, 1)) {
      this.#options.log.warn({ from, reason, refused: result.refused.length }, 'refused what a peer handed over')
    }
    return result
  }

  async init({ name, record }: { name: string; record: PeerRecord }): Promise<string> {
    checkName('cluster', name)
    this.#checkOwn(record)
    const { signer, clock, random } = this.#options
    await this.#enter(async () => {
      const input = { name, createdAt: clock.now(), nonce: random.bytes(16), chunk: genesisChunk() }
      const genesis = createGenesis(signer, input)
      await this.#storage.create(genesis.bytes, [])
      return Cluster.load(genesis, [], this.#deps())
    })
    await this.putPeer(record)
    return this.#inCluster().genesis.clusterId
  }

  createInvite(input: { ttlMs: number; uses: number; role: Role; addresses: string[] }): string {
    const { genesis } = this.#asMember()
    checkInviteInput(input)
    const { ttlMs, uses, role, addresses } = input
    const { signer, clock, random } = this.#options
    const expiresAt = clock.now() + ttlMs
    const id = random.bytes(16)
    const { clusterId, name: clusterName } = genesis
    return createInvite(signer, { id, clusterId, clusterName, addresses, expiresAt, uses, role })
  }

  async admit({ token, peer, name }: { token: string; peer: PeerId; name: string }): Promise<void> {
    const cluster = await this.#writable()
    checkPeerId('peer', peer)
    checkName('peer', name)
    const invite = parseInvite(token)
    if (invite.clusterId !== cluster.genesis.clusterId) throw new InviteInvalidError('it is of another cluster')
    const { members, redeemed } = cluster.fold.membership
    if (!members.has(invite.inviter)) throw new InviteInvalidError('the peer that made it is not a member')
    if (members.has(peer)) return
    checkInvite(invite, this.#options.clock.now(), redeemed.get(inviteKey(invite)) ?? [])
    checkNameIsFree(cluster.fold.view, name, peer)
    const { role, bytes } = invite
    const hash = await cluster.authorize((previous) => encodeAdmit({ previous, peer, role, name, invite: bytes }))
    if (cluster.fold.membership.refused.has(hash)) throw new InviteUsedError(invite.uses)
  }

  bootstrap(): Bootstrap {
    const cluster = this.#asMember()
    return { genesis: cluster.genesis.bytes, envelopes: [...cluster.missing({}, Infinity)].flat() }
  }

  async adopt({ token, genesis: bytes, envelopes }: Bootstrap & { token: string }): Promise<void> {
    const invite = parseInvite(token)
    await this.#enter(async () => {
      const genesis = readGenesis(bytes)
      if (genesis.clusterId !== invite.clusterId) throw new InviteInvalidError('the peer there is of another cluster')
      return Cluster.adopt(genesis, envelopes, this.#deps())
    })
  }

  async putPeer(record: PeerRecord): Promise<PeerRecord> {
    const checked = this.#checkOwn(record)
    return writePeer(await this.#writable(), checked)
  }

  async createService(input: ServiceInput): Promise<ServiceRecord> {
    return createService(await this.#writable(), this.#options, input)
  }

  async updateService(id: ServiceId, patch: ServicePatch): Promise<ServiceRecord> {
    return updateService(await this.#writable(), this.#options, id, patch)
  }

  async deleteService(id: ServiceId): Promise<void> {
    await deleteService(await this.#writable(), id)
  }

  async addRoutes(serviceId: ServiceId, inputs: RouteInput[]): Promise<RouteRecord[]> {
    return addRoutes(await this.#writable(), this.#options, serviceId, inputs)
  }

  async updateRoute(serviceId: ServiceId, id: RouteId, patch: RoutePatch): Promise<RouteRecord> {
    return updateRoute(await this.#writable(), serviceId, id, patch)
  }

  async deleteRoute(serviceId: ServiceId, id: RouteId): Promise<void> {
    await deleteRoute(await this.#writable(), serviceId, id)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#storage.close()
  }

  async #load(): Promise<void> {
    const { found } = this.#storage
    if (found == null) return
    this.#cluster = Cluster.load(readGenesis(found.genesis), found.envelopes, this.#deps())
    this.#listenToDisk()
    if (found.salvaged.length > 0) await this.#cluster.receive(found.salvaged)
  }

  /** Founding and joining exclude each other and themselves. */
  async #enter(make: () => Promise<Cluster>): Promise<void> {
    this.#checkOpen()
    if (this.#cluster != null) throw new AlreadyInClusterError(this.#cluster.genesis.name)
    if (this.#entering) throw new UnavailableError('this peer is just entering a cluster; ask again in a moment')
    this.#entering = true
    try {
      this.#cluster = await make()
      this.#listenToDisk()
    } finally {
      this.#entering = false
    }
    this.#notify(this.#onView, this.#cluster.view, emptyView)
  }

  #listenToDisk(): void {
    this.#storage.log.onFailure = (error) => this.#cluster?.onDiskFailure(error)
  }

  #deps(): ClusterDeps {
    const { signer, clock, log } = this.#options
    return {
      signer,
      clock,
      log,
      storage: this.#storage,
      listeners: {
        view: (view, previous) => this.#notify(this.#onView, view, previous),
        local: (envelope) => this.#notify(this.#onLocal, envelope),
        received: ({ authorId: author, writtenAt }) =>
          this.#notify(this.#onReceived, { author, writtenAt, receivedAt: clock.now() })
      }
    }
  }

  /** A listener that throws must not keep others, or the disk, from going on. */
  #notify<A extends unknown[]>(listeners: Set<(...args: A) => void>, ...args: A): void {
    for (const listener of listeners) {
      try {
        listener(...args)
      } catch (error) {
        this.#options.log.error({ error }, 'a listener of the replicated state has thrown')
      }
    }
  }

  #checkOwn(record: PeerRecord): PeerRecord {
    const checked = checkPeer(record)
    if (checked.id !== this.self) throw new PeerNotFoundError(checked.id, 'a peer writes its own record only')
    return checked
  }

  #checkOpen(): void {
    if (this.#closed) throw new UnavailableError('the agent is stopping; ask again when it is back')
  }

  #inCluster(): Cluster {
    this.#checkOpen()
    if (this.#cluster == null) throw new NotInClusterError()
    return this.#cluster
  }

  async #writable(): Promise<Cluster> {
    await this.#inCluster().ready()
    return this.#asMember()
  }

  /** Writes are for members: an admission that lost against another one for the same invite leaves a peer outside. */
  #asMember(): Cluster {
    const cluster = this.#inCluster()
    if (!cluster.fold.membership.members.has(this.self)) throw new NotInClusterError()
    return cluster
  }
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  // Wrapped twice, the same function may listen twice; a set holds it once, so each subscription must be its own.
  if (listeners.has(listener)) throw new Error('this listener is subscribed already')
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function readGenesis(bytes: Uint8Array): Genesis {
  try {
    const genesis = parseGenesis(bytes)
    if (!isGenesisChunk(genesis.chunk)) throw new MalformedError('it does not make what this agent looks for')
    return genesis
  } catch (error) {
    if (error instanceof MalformedError) throw new InviteInvalidError(`the genesis there is not good: ${error.message}`)
    throw error
  }
}
