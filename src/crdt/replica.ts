import { asCaller, viaNow } from '../caller.ts'
import type { Clock } from '../clock.ts'
import {
  AlreadyInClusterError,
  ForbiddenError,
  InviteInvalidError,
  NotInClusterError,
  PeerNotFoundError,
  RevokedError,
  UnavailableError
} from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { admit, leave, revoke, setRole } from './admissions.ts'
import { copyOf, MalformedError } from './bytes.ts'
import type { Cluster, ClusterDeps, Contradiction } from './cluster.ts'
import type { Disk } from './disk.ts'
import { isGenesisChunk, type Kind } from './document.ts'
import { Epochs } from './epoch.ts'
import { createGenesis, parseGenesis, type Genesis } from './genesis.ts'
import { genesisChunk } from './genesis-change.ts'
import { checkHollow } from './hollow.ts'
import { historyEntryOf, historyOf, type HistoryEntry, type HistoryFilter, type HistoryObject } from './history.ts'
import { ownReader, type Reader } from './intake.ts'
import { createInvite, parseInvite } from './invite.ts'
import type { Saver } from './document-aside.ts'
import type { Entry } from './entries.ts'
import type { Found } from './log-records.ts'
import { epochEveryEntries, snapshotEveryEntries } from './limits.ts'
import { adoptCluster, adoptHollowCluster, loadCluster, restoreCluster } from './opening.ts'
import { originOf, type Origin } from './origin.ts'
import { pastOf, type Moment, type Past } from './past.ts'
import type { ActorNote } from './note.ts'
import type { BehindState, EnvelopeBytes, ReceiveResult, VersionVector } from './replicated.ts'
import type {
  PeerId,
  PeerRecord,
  Policy,
  Role,
  RouteId,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServiceId,
  ServiceInput,
  ServicePatch,
  ServiceRecord,
  TokenId,
  TokenRecord
} from './schema.ts'
import type { Signer, Verifier } from './signer.ts'
import { emptyView } from './fold.ts'
import type { Bootstrap, SnapshotBootstrap, Damage, ReceivedEnvelope, ReplicatedState, Undone } from './state.ts'
import { Storage } from './storage.ts'
import type { TokenInput } from './token.ts'
import { checkInviteInput, checkName, checkPeer } from './validate.ts'
import { verifyHistory, type Verification } from './verify.ts'
import type { View } from './view.ts'
import {
  addRoutes,
  createService,
  createToken,
  deleteRoute,
  deleteService,
  renamePeer,
  revokeToken,
  setPolicy,
  undo,
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
  /** Entries behind the last snapshot that make the next one; left out: the limit. */
  snapshotEvery?: number
  /** Entries since the last epoch that make the next one; left out: the limit. */
  epochEvery?: number
  /** Verifies many signatures at once; left out: one after the other, here. */
  verifier?: Verifier
  /** Makes the documents that are saved; left out: here. */
  saver?: Saver
  /** Reads what others have written; left out: each replica by itself. */
  reader?: Reader
  /** Called when the disk has lost what memory had put there: only a start can read all of it again. UnavailableError. */
  fail?: (error: unknown) => void
}

/** The replicated state of one peer on its disk. See {@link ReplicatedState} for what each method promises. */
export class Replica implements ReplicatedState {
  readonly self: PeerId
  readonly #options: ReplicaOptions
  readonly #storage: Storage
  #cluster: Cluster | null = null
  /** Of the cluster, while this peer is in one. */
  #epochs: { all: Epochs; end: AbortController } | null = null
  /** A cluster is being founded or entered. */
  #entering = false
  #closed = false
  #past: { key: string; past: Promise<Past> } | null = null
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
      return loadCluster(genesis, [], this.#deps())
    })
    await this.putPeer(record)
    return this.#inCluster().genesis.clusterId
  }

  createInvite(input: { ttlMs: number; uses: number; role: Role; addresses: string[] }): string {
    const { genesis } = this.#asAdmin('invites peers')
    checkInviteInput(input)
    const { ttlMs, uses, role, addresses } = input
    const { signer, clock, random } = this.#options
    const expiresAt = clock.now() + ttlMs
    const id = random.bytes(16)
    const { clusterId, name: clusterName } = genesis
    return createInvite(signer, { id, clusterId, clusterName, addresses, expiresAt, uses, role, via: viaNow() })
  }

  async admit(input: { token: string; peer: PeerId; name: string }): Promise<void> {
    const cluster = this.#whole(await this.#administrable('admits peers'), 'nobody can join by it')
    await admit(cluster, this.#options.clock, input)
  }

  async revoke(peer: PeerId): Promise<void> {
    await revoke(await this.#administrable('revokes peers'), this.self, peer)
  }

  async setRole(peer: PeerId, role: Role): Promise<void> {
    await setRole(await this.#administrable('gives roles'), peer, role)
  }

  async renamePeer(peer: PeerId, name: string): Promise<PeerRecord> {
    const cluster = peer === this.self ? await this.#writable() : await this.#administrable('renames other peers')
    return renamePeer(cluster, peer, checkName('peer', name))
  }

  async leave(): Promise<void> {
    const cluster = this.#inCluster()
    await cluster.ready()
    await leave(cluster, this.self)
  }

  authLog(): EnvelopeBytes[] {
    return this.#cluster?.authLog() ?? []
  }

  farewell(peer: PeerId): EnvelopeBytes[] {
    return this.#cluster?.farewell(peer) ?? []
  }

  async forget(): Promise<string> {
    const cluster = this.#inCluster()
    const { view } = cluster
    const stamp = new Date(this.#options.clock.now()).toISOString().replaceAll(/[-:.]/g, '')
    const keptAs = await this.#storage.archive(stamp)
    cluster.isLeft = true
    this.#epochs?.end.abort()
    this.#cluster = this.#epochs = this.#past = null
    this.#options.log.info({ kept_as: keptAs }, 'this peer belongs to no cluster any more')
    this.#notify(this.#onView, { ...emptyView, revision: view.revision + 1 }, view)
    return keptAs
  }

  async history(filter: HistoryFilter): Promise<HistoryEntry[]> {
    return historyOf(this.#inCluster(), filter, this.#options.clock)
  }

  async signEpoch(): Promise<HistoryEntry> {
    const cluster = this.#whole(await this.#administrable('signs epochs'), 'nothing can be signed')
    const entry = await this.#epochs?.all.sign()
    return historyEntryOf(cluster, entry as Entry)
  }

  async verify(): Promise<Verification> {
    return verifyHistory(this.#whole(this.#inCluster(), 'it cannot be verified once more'), this.#options.clock)
  }

  async past(moment: Moment): Promise<Past> {
    const cluster = this.#whole(this.#inCluster(), 'the past cannot be told')
    const key = `${cluster.genesis.clusterId} ${JSON.stringify(moment)} ${cluster.durableCount} ${cluster.view.revision}`
    if (this.#past?.key === key) return this.#past.past
    // One at a time: each holds a document of its own. The last one is kept, since whoever looks at a moment looks twice.
    const past = (this.#past?.past ?? Promise.resolve())
      .catch(() => {})
      .then(() => pastOf(cluster, moment, this.#options.clock))
    this.#past = { key, past }
    past.catch(() => {
      if (this.#past?.past === past) this.#past = null
    })
    return past
  }

  originOf(kind: Kind, id: string): Origin | null {
    return originOf(this.#inCluster(), kind, id)
  }

  bootstrap(): Bootstrap {
    const cluster = this.#whole(this.#asMember(), 'nobody can join by it')
    return { genesis: cluster.genesis.bytes, envelopes: [...cluster.missing({}, Infinity)].flat() }
  }

  async bootstrapSnapshot(): Promise<SnapshotBootstrap | null> {
    const cluster = this.#whole(this.#asAdmin('admits peers'), 'nobody can join by it')
    const snapshot = (await this.#epochs?.all.forJoiner()) ?? null
    return snapshot == null ? null : { genesis: cluster.genesis.bytes, auth: cluster.authLog(), snapshot }
  }

  async adopt({ token, genesis: bytes, envelopes }: Bootstrap & { token: string }): Promise<void> {
    const genesis = genesisOf(token, bytes)
    await this.#enter(() => adoptCluster(genesis, envelopes, this.#deps()))
  }

  async adoptSnapshot({
    token,
    genesis: bytes,
    auth,
    snapshot
  }: SnapshotBootstrap & { token: string }): Promise<{ refused: string } | null> {
    const genesis = genesisOf(token, bytes)
    try {
      const { clock } = this.#options
      const { scratch } = this.#storage
      const hollow = await checkHollow({ genesis, auth, file: snapshot, clock, scratch })
      await this.#enter(() => adoptHollowCluster(genesis, snapshot, hollow, this.#deps()))
      return null
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.#options.log.warn({ reason: error.message }, 'the snapshot that was handed over is not used')
      return { refused: error.message }
    }
  }

  behind(): BehindState | null {
    const [cluster, behind] = [this.#cluster, this.#cluster?.behind]
    if (cluster == null || behind == null) return null
    const { epoch } = cluster
    return {
      ...behind.progress,
      epoch: epoch?.hash ?? null,
      author: epoch?.authorId ?? null,
      vector: () => behind.vector(cluster.vector())
    }
  }

  async receiveBehind(envelopes: EnvelopeBytes[], from: PeerId): Promise<ReceiveResult> {
    const result = await this.#inCluster().receiveBehind(envelopes)
    const [first] = result.refused
    if (first != null) {
      const { reason } = first
      this.#options.log.warn({ from, reason, refused: result.refused.length }, 'refused what a peer handed over')
    }
    return result
  }

  behindEnded(by: PeerId): void {
    this.#cluster?.behindEnded(by)
  }

  contradiction(): Contradiction | null {
    return this.#cluster?.contradiction ?? null
  }

  async putPeer(record: PeerRecord): Promise<PeerRecord> {
    const checked = this.#checkOwn(record)
    const cluster = await this.#writable()
    // The agent's own doing, whatever request has led to it.
    return asCaller(null, () => writePeer(cluster, checked))
  }

  async createService(input: ServiceInput): Promise<ServiceRecord> {
    return createService(await this.#administrable('changes services and routes'), this.#options, input)
  }

  async updateService(id: ServiceId, patch: ServicePatch): Promise<ServiceRecord> {
    return updateService(await this.#administrable('changes services and routes'), this.#options, id, patch)
  }

  async deleteService(id: ServiceId): Promise<void> {
    await deleteService(await this.#administrable('changes services and routes'), id)
  }

  async addRoutes(serviceId: ServiceId, inputs: RouteInput[]): Promise<RouteRecord[]> {
    return addRoutes(await this.#administrable('changes services and routes'), this.#options, serviceId, inputs)
  }

  async updateRoute(serviceId: ServiceId, id: RouteId, patch: RoutePatch): Promise<RouteRecord> {
    return updateRoute(await this.#administrable('changes services and routes'), serviceId, id, patch)
  }

  async deleteRoute(serviceId: ServiceId, id: RouteId): Promise<void> {
    await deleteRoute(await this.#administrable('changes services and routes'), serviceId, id)
  }

  async createToken(input: TokenInput): Promise<{ record: TokenRecord; text: string }> {
    return createToken(await this.#administrable('makes tokens'), this.#options, input)
  }

  async revokeToken(id: TokenId): Promise<void> {
    await revokeToken(await this.#administrable('revokes tokens'), id)
  }

  async setPolicy(patch: Partial<Policy>): Promise<Policy> {
    return setPolicy(await this.#administrable("sets the cluster's policy"), patch)
  }

  async note(note: ActorNote): Promise<void> {
    await (await this.#writable()).note(note)
  }

  async undo(change: string, agree: (objects: readonly HistoryObject[]) => void = () => {}): Promise<Undone> {
    return undo(await this.#administrable('undoes changes'), this.#options, change, agree)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#epochs?.end.abort()
    await this.#storage.close()
  }

  async #load(): Promise<void> {
    const { found } = this.#storage
    if (found == null) return
    const genesis = readGenesis(found.genesis)
    let { salvaged } = found
    this.#cluster = this.#restore(genesis, found)
    if (this.#cluster == null) {
      const all = await this.#storage.history()
      salvaged = all.salvaged
      this.#cluster = loadCluster(genesis, all.envelopes, this.#deps())
    }
    this.#storage.loaded()
    this.#entered(this.#cluster)
    if (salvaged.length > 0) await this.#cluster.receive(salvaged)
    this.#cluster.begin()
  }

  /** From the snapshot; null when there is none that is of use. */
  #restore(genesis: Genesis, { snapshot, envelopes, epoch, behind }: Found): Cluster | null {
    if (snapshot == null) return null
    try {
      const takenOver = epoch == null ? null : { digest: epoch, behind }
      return restoreCluster(genesis, snapshot, envelopes, this.#deps(), takenOver)
    } catch (error) {
      this.#options.log.warn({ error }, 'the snapshot is not used; the whole history is read instead')
      return null
    }
  }

  /** Founding and joining exclude each other and themselves. */
  async #enter(make: () => Promise<Cluster>): Promise<void> {
    this.#checkOpen()
    if (this.#cluster != null) throw new AlreadyInClusterError(this.#cluster.genesis.name)
    if (this.#entering) throw new UnavailableError('this peer is just entering a cluster; ask again in a moment')
    this.#entering = true
    try {
      this.#cluster = await make()
      this.#entered(this.#cluster)
    } finally {
      this.#entering = false
    }
    this.#notify(this.#onView, this.#cluster.view, emptyView)
  }

  #entered(cluster: Cluster): void {
    this.#storage.log.onFailure = (error) => this.#cluster?.onDiskFailure(error)
    const { clock, log, epochEvery: every = epochEveryEntries } = this.#options
    const end = new AbortController()
    const deps = { self: this.self, clock, log, storage: this.#storage, every, signal: end.signal }
    this.#epochs = { all: new Epochs(cluster, deps), end }
  }

  #deps(): ClusterDeps {
    const { signer, clock, log } = this.#options
    return {
      signer,
      clock,
      log,
      storage: this.#storage,
      snapshotEvery: this.#options.snapshotEvery ?? snapshotEveryEntries,
      verifier: this.#options.verifier ?? null,
      saver: this.#options.saver ?? null,
      reader: this.#options.reader ?? ownReader,
      listeners: {
        view: (view, previous) => {
          this.#notify(this.#onView, view, previous)
          this.#epochs?.all.consider()
        },
        local: (envelope) => this.#notify(this.#onLocal, envelope),
        received: ({ authorId: author, hash, writtenAt }) =>
          this.#notify(this.#onReceived, { author, hash, writtenAt, receivedAt: clock.now() })
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

  async #administrable(what: string): Promise<Cluster> {
    await this.#inCluster().ready()
    return this.#asAdmin(what)
  }

  /** ForbiddenError for a member that is no admin; `what` completes "only an admin …". */
  #asAdmin(what: string): Cluster {
    const cluster = this.#asMember()
    const role = cluster.fold.membership.members.get(this.self)?.role
    if (role !== 'admin') {
      throw new ForbiddenError(
        `only an admin ${what}, and this peer is a ${role}; do it on an admin's host, or let an admin run "arctic peers role ${this.self} admin"`,
        { role }
      )
    }
    return cluster
  }

  /** UnavailableError as long as the history is not all here; `what` completes "until then …". */
  #whole(cluster: Cluster, what: string): Cluster {
    if (cluster.behind == null) return cluster
    const { verified, entries } = cluster.behind.progress
    throw new UnavailableError(
      `this peer has verified ${verified} of the ${entries} entries behind the snapshot that it joined with, and until then ${what}; try again later, or ask another peer`,
      { verified, entries }
    )
  }

  /** Writes are for members: an admission that lost against another one for the same invite leaves a peer outside. */
  #asMember(): Cluster {
    const cluster = this.#inCluster()
    const { members } = cluster.fold.membership
    if (members.has(this.self)) return cluster
    const gone = cluster.fold.view.departed?.get(this.self)
    if (gone == null || gone.how === 'left') throw new NotInClusterError()
    const by = cluster.fold.view.members.get(gone.by)?.name ?? gone.by
    throw new RevokedError({ cluster: cluster.genesis.name, by, at: gone.at, how: gone.how })
  }
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  // Wrapped twice, the same function may listen twice; a set holds it once, so each subscription must be its own.
  if (listeners.has(listener)) throw new Error('this listener is subscribed already')
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** InviteInvalidError when it is not the one of the cluster that the token is of. */
function genesisOf(token: string, bytes: Uint8Array): Genesis {
  const invite = parseInvite(token)
  const genesis = readGenesis(bytes)
  if (genesis.clusterId !== invite.clusterId) throw new InviteInvalidError('the peer there is of another cluster')
  return genesis
}

function readGenesis(bytes: Uint8Array): Genesis {
  try {
    // Kept for good, unlike all that was read with it.
    const genesis = parseGenesis(copyOf(bytes))
    if (!isGenesisChunk(genesis.chunk)) throw new MalformedError('it does not make what this agent looks for')
    return genesis
  } catch (error) {
    if (error instanceof MalformedError) throw new InviteInvalidError(`the genesis there is not good: ${error.message}`)
    throw error
  }
}
