import type { Clock } from '../clock.ts'
import { changesOf } from '../crdt/diff.ts'
import type { PeerId, PeerRecord, Role, ServiceId } from '../crdt/schema.ts'
import type { Signer } from '../crdt/signer.ts'
import type { ReplicatedState } from '../crdt/state.ts'
import { strangerState, type View } from '../crdt/view.ts'
import { NotInClusterError, PeerNotFoundError, UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { ActorExchange } from './actor-protocol/exchange.ts'
import { audienceFor } from './audience.ts'
import { Background } from './background.ts'
import { deadline } from './deadline.ts'
import { ChangeGossip } from './gossip.ts'
import { Admission, JOIN_PROTOCOL } from './join/admission.ts'
import { introduce } from './join/introduce.ts'
import { redeem } from './join/join.ts'
import { settleIn } from './join/settle-in.ts'
import { departureMs, departureRetryMs, propagationSamplesMax, settleMs } from './limits.ts'
import type { Mesh, PeerPresence, ServiceReport, SyncOutcome } from './mesh.ts'
import type { Audience, Network } from './network.ts'
import type { Beat } from './presence/beat.ts'
import { Pinger } from './presence/pinger.ts'
import { Presence } from './presence/presence.ts'
import { Roster } from './presence/roster.ts'
import { Twins, type Twin } from './presence/twins.ts'
import { Redial } from './redial.ts'
import { Refusals, type Refused } from './refusals.ts'
import { ReportBook } from './report/book.ts'
import { ReportExchange } from './report/exchange.ts'
import { partners } from './report/partners.ts'
import { AntiEntropy } from './sync/anti-entropy.ts'
import { Backfill } from './sync/backfill.ts'
import { isOtherDocument } from './sync/doubt.ts'
import { vectorDigest } from './sync/frame.ts'

/** Protocols that a peer which is no member may speak; what a {@link Network} for this mesh has to let through. */
export const OPEN_PROTOCOLS = [JOIN_PROTOCOL] as const

export interface MeshRuntimeParts {
  network: Network
  replica: ReplicatedState
  signer: Signer
  /** This peer's record as it should be now; asked whenever it may have changed. */
  record: () => PeerRecord
  version: string
  clock: Clock
  random: Random
  log: Logger
}

/**
 * The mesh over a network and a replica. How its parts hang together:
 *
 * - join and admission make members; redial keeps a connection to each; sync and gossip keep the replicas equal;
 * - actors of one peer are asked, told and watched from another (`actor-protocol/`);
 * - presence says who is there, and what it hears makes sync and report fetches begin at once;
 * - all that belongs to a cluster begins when the replica belongs to one, be it by start, init or join.
 */
export class MeshRuntime implements Mesh {
  readonly self: PeerId
  readonly actors: ActorExchange
  readonly #parts: MeshRuntimeParts
  readonly #log: Logger
  readonly #background: Background
  readonly #roster: Roster
  readonly #presence: Presence
  readonly #twins: Twins
  readonly #refusals = new Refusals()
  readonly #sync: AntiEntropy
  readonly #backfill: Backfill
  readonly #gossip: ChangeGossip
  readonly #book: ReportBook
  readonly #reports: ReportExchange
  readonly #redial: Redial
  readonly #pinger: Pinger
  readonly #admission: Admission
  readonly #onPresence = new Set<(presence: PeerPresence) => void>()
  readonly #onReport = new Set<Parameters<Mesh['onReport']>[0]>()
  readonly #releases: Array<() => void> = []
  readonly #propagation: number[] = []
  readonly #partners: (view: View) => ReadonlySet<PeerId>
  /** What was last logged. */
  #knownTwins: ReadonlySet<PeerId> = new Set()
  readonly #reachable = new Set<PeerId>()
  #vectorOf: { view: View; digest: string } | null = null
  #cluster: string | null = null
  #joining = false
  /** Wall-clock ms. */
  #enteredAt = 0
  /** Monotonic ms of the last change of the replica, by whomever. */
  #changedAt = -Infinity

  constructor(parts: MeshRuntimeParts) {
    const { network, replica, clock, random, signer } = parts
    const log = parts.log.module('mesh')
    const incarnation = clock.now()
    const isMember = (peer: PeerId): boolean => replica.isMember(peer)
    const refusals = this.#refusals
    this.self = network.self
    this.#parts = parts
    this.#log = log
    this.#background = new Background((error) => log.debug({ error }, 'work in the background failed'))
    this.#partners = partners(this.self)
    this.#sync = new AntiEntropy({
      network,
      replica,
      clock,
      random,
      log,
      refusals,
      onNews: (envelopes) => this.#gossip.forward(envelopes),
      agrees: (peer) => this.#roster.isHeard(peer) && this.#roster.beatOf(peer)?.vector === this.#vector(),
      onMuchNews: () => this.#presence.changed(),
      onRefused: (peer) => {
        this.#background.run((signal) => introduce(peer, { network, replica, clock, signal }))
      }
    })
    this.#backfill = new Backfill({ network, replica, clock, random, log, refusals })
    const audience = (): Audience => audienceFor(replica.view().members.keys(), { network, roster: this.#roster })
    const fetch = (peer: PeerId): void => this.#sync.want(peer)
    const members = (): number => replica.view().members.size
    this.#gossip = new ChangeGossip({ network, replica, clock, log, refusals, audience, members, fetch })
    const roleOf = (peer: PeerId): Role | null => replica.view().members.get(peer)?.role ?? null
    this.actors = new ActorExchange({ network, clock, log, roleOf })
    this.#redial = new Redial({ network, clock, random, log, addressesOf: (peer) => this.#addressesOf(peer) })
    this.#admission = new Admission({ network, replica, clock, log, refusals })
    this.#book = new ReportBook({ incarnation, clock, onChange: () => this.#reported() })
    this.#reports = new ReportExchange({
      network,
      book: this.#book,
      clock,
      log,
      refusals,
      onReport: (peer, news) => {
        for (const listener of this.#onReport) listener(peer, news)
      }
    })
    this.#roster = new Roster({
      clock,
      isMember,
      events: { onChange: (peer) => this.#presenceChanged(peer), onSilent: (peer) => this.#silent(peer) }
    })
    this.#twins = new Twins({ self: this.self, incarnation, clock })
    this.#pinger = new Pinger({ network, roster: this.#roster, clock, random, log })
    this.#presence = new Presence({
      network,
      signer,
      clock,
      random,
      log,
      refusals,
      incarnation,
      isMember,
      roster: this.#roster,
      members: () => replica.view().members.size,
      audience,
      statement: () => ({
        version: parts.version,
        heads: [...replica.view().heads],
        vector: this.#vector(),
        report: this.#book.version(),
        twins: this.#twins.statement()
      }),
      onBeat: (beat) => this.#heard(beat),
      onAnyBeat: (beat) => this.#heardAny(beat)
    })
  }

  async start(): Promise<void> {
    const { network, replica, clock } = this.#parts
    this.#releases.push(
      network.onConnect((peer) => {
        this.#roster.connected(peer)
        this.#backfill.wake()
      }),
      network.onDisconnect((peer) => this.#roster.disconnected(peer)),
      network.onStranger((peer, addresses) => this.#roster.stranger(peer, addresses)),
      network.onMisspoken((protocol, error) => this.#refusals.note(protocol, error)),
      replica.onView((view, previous) => this.#viewChanged(view, previous)),
      replica.onReceived(({ author, writtenAt, receivedAt }) => {
        this.#changedAt = clock.monotonic()
        // History that was written before this peer was there to see it says nothing about propagation.
        if (writtenAt < this.#enteredAt) return
        // The clocks' difference is known from the author's beats, give or take half a round trip.
        this.#propagation.push(Math.max(0, receivedAt - writtenAt - this.#roster.clockOffsetMs(author)))
        if (this.#propagation.length > propagationSamplesMax) this.#propagation.shift()
      }),
      replica.onLocal(() => {
        this.#changedAt = clock.monotonic()
        this.#presence.headsChanged()
      })
    )
    // All of it is there before anybody can connect.
    await this.#admission.start()
    await this.#sync.start()
    await this.#reports.start()
    await this.actors.start()
    this.#redial.start()
    try {
      await network.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#pinger.start()
    this.#enter()
    this.#log.info({ peer: this.self, addresses: network.addresses() }, 'the mesh is up')
  }

  async stop(): Promise<void> {
    for (const release of this.#releases.splice(0)) release()
    this.#presence.stop()
    this.#book.stop()
    this.#admission.stop()
    await Promise.all([
      this.#redial.stop(),
      this.#pinger.stop(),
      this.#gossip.stop(),
      this.#sync.stop(),
      this.#backfill.stop(),
      this.#reports.stop(),
      this.actors.stop(),
      this.#background.stop()
    ])
    await this.#parts.network.stop()
  }

  peers(): PeerPresence[] {
    const ids = new Set([this.self, ...this.#parts.replica.view().members.keys(), ...this.#roster.peers()])
    return [...ids].map((id) => this.#presenceOf(id))
  }

  peer(id: PeerId): PeerPresence | null {
    const known = id === this.self || this.#parts.replica.isMember(id) || this.#roster.peers().includes(id)
    return known ? this.#presenceOf(id) : null
  }

  isReachable(id: PeerId): boolean {
    return id === this.self || this.#roster.isReachable(id)
  }

  onPresence(listener: (presence: PeerPresence) => void): () => void {
    return add(this.#onPresence, listener)
  }

  onReport(listener: Parameters<Mesh['onReport']>[0]): () => void {
    return add(this.#onReport, listener)
  }

  report(peer: PeerId): ReadonlyMap<ServiceId, ServiceReport> {
    return peer === this.self ? this.#book.all() : this.#reports.held(peer)
  }

  async refreshReport(
    peer: PeerId,
    { signal }: { signal: AbortSignal }
  ): Promise<ReadonlyMap<ServiceId, ServiceReport>> {
    if (peer === this.self) return this.#book.all()
    if (!this.#parts.replica.isMember(peer)) throw new PeerNotFoundError(peer, 'it is no member of this cluster')
    return this.#reports.fetch(peer, { signal })
  }

  publishReport(reports: ReadonlyMap<ServiceId, ServiceReport>, changed?: readonly ServiceId[]): void {
    this.#book.publish(reports, changed)
  }

  async invite({ ttlMs, uses, role }: { ttlMs: number; uses: number; role: Role }): Promise<string> {
    const { replica, network } = this.#parts
    if (replica.clusterId() == null) throw new NotInClusterError()
    return replica.createInvite({ ttlMs, uses, role, addresses: network.addresses() })
  }

  join(token: string, { signal }: { signal: AbortSignal }): Promise<void> {
    return this.#background.runFor(signal, (signal) => this.#join(token, signal))
  }

  async #join(token: string, signal: AbortSignal): Promise<void> {
    const { network, replica, clock } = this.#parts
    if (this.#joining) throw new UnavailableError('a join is under way already; wait for it to end')
    this.#joining = true
    try {
      const { name } = this.#parts.record()
      const parts = { network, replica, clock, refusals: this.#refusals, log: this.#log, signal }
      const { inviter, addresses } = await redeem(token, name, parts)
      this.#enter()
      this.#redial.hint(inviter, addresses)
      const settle = async (signal: AbortSignal): Promise<void> => {
        await network.dial(inviter, addresses, { signal })
        // A snapshot is a little old, and this peer may have been here before.
        if (replica.behind() != null) await this.#sync.sync(inviter, { signal })
        // Only now others can dial this peer, and only once they have its record.
        // A peer that comes back has the name that it has just asked for, not the one it had before.
        await replica.putPeer(this.#parts.record())
        await this.#ownRecord(signal)
        await this.#sync.sync(inviter, { signal })
      }
      const isMember = (): boolean => replica.view().members.has(this.self)
      await settleIn(inviter, settle, { clock, log: this.#log, isMember, signal })
      this.#log.info({ cluster: replica.clusterId(), inviter }, 'joined')
    } finally {
      this.#joining = false
    }
  }

  async depart(): Promise<{ told: PeerId[]; missed: PeerId[] }> {
    const { replica, clock } = this.#parts
    const others = this.#others(replica.view())
    using limit = deadline(clock, departureMs, { signal: this.#background.signal })
    const heard = await Promise.all(others.map((peer) => this.#tellDeparture(peer, limit.signal)))
    return { told: others.filter((_, i) => heard[i]), missed: others.filter((_, i) => heard[i] !== true) }
  }

  /** Whoever has heard of it by gossip has hung up, and is told again as a stranger: only its own word is certain. */
  async #tellDeparture(peer: PeerId, signal: AbortSignal): Promise<boolean> {
    const { network, replica, clock } = this.#parts
    const addresses = [...new Set([...network.remoteAddresses(peer), ...this.#addressesOf(peer)])]
    while (!signal.aborted) {
      try {
        await network.dial(peer, addresses, { signal })
        await introduce(peer, { network, replica, clock, signal })
        return true
      } catch (error) {
        this.#log.debug({ peer, error }, 'a member was not told of the departure yet')
        await clock.sleep(departureRetryMs, { signal }).catch(() => {})
      }
    }
    return false
  }

  async syncAll({ signal }: { signal: AbortSignal }): Promise<SyncOutcome[]> {
    if (this.#parts.replica.clusterId() == null) throw new NotInClusterError()
    return Promise.all(
      this.#parts.network.connected().map(async (peer) => {
        try {
          return { peer, ...(await this.#sync.sync(peer, { signal })), error: null }
        } catch (error) {
          signal.throwIfAborted()
          return { peer, received: 0, sent: 0, error: (error as Error).message }
        }
      })
    )
  }

  refusals(): readonly Refused[] {
    return this.#refusals.all()
  }

  twins(): readonly Twin[] {
    return this.#twins.found()
  }

  propagation(): readonly number[] {
    return this.#propagation
  }

  /** Waits until this peer's record is in the view: another part may be writing it at the same time. */
  async #ownRecord(signal: AbortSignal): Promise<void> {
    const { replica } = this.#parts
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const check = (): void => {
      if (replica.view().members.get(this.self)?.record != null) resolve()
    }
    const abort = (): void => reject(signal.reason)
    const release = replica.onView(check)
    signal.addEventListener('abort', abort, { once: true })
    try {
      check()
      signal.throwIfAborted()
      await promise
    } finally {
      release()
      signal.removeEventListener('abort', abort)
    }
  }

  /** Begins what belongs to a cluster, if there is one and it has not begun. */
  #enter(): void {
    const { replica, network } = this.#parts
    const cluster = replica.clusterId()
    if (cluster == null || this.#cluster != null) return
    this.#cluster = cluster
    this.#enteredAt = this.#parts.clock.now()
    network.membershipChanged()
    this.#gossip.start(cluster)
    this.#presence.start(cluster)
    this.#redial.members(this.#wanted(replica.view()), { prompt: !this.#joining })
    this.#reports.follow(this.#partners(replica.view()))
    // A join writes it itself, when others can be told.
    if (!this.#joining) this.#background.run(() => replica.putPeer(this.#record()))
  }

  /** What this process says of itself, under the name that the cluster knows it by: `peers rename` changes that. */
  #record(): PeerRecord {
    const record = this.#parts.record()
    const known = this.#parts.replica.view().members.get(this.self)?.record
    if (known == null || known.name === record.name) return record
    this.#log.info({ name: known.name, configured: record.name }, 'the cluster knows this peer by another name')
    return { ...record, name: known.name }
  }

  /** Ends what {@link #enter} began: the replica has forgotten its cluster. */
  #exit(previous: View): void {
    this.#cluster = null
    this.#gossip.leave()
    this.#presence.stop()
    this.#redial.members([])
    this.#reports.follow(new Set())
    for (const peer of previous.members.keys()) this.#reports.forget(peer)
    this.#twins.forget(() => false)
    this.actors.membersChanged()
    this.#propagation.length = 0
    this.#parts.network.membershipChanged()
  }

  #viewChanged(view: View, previous: View): void {
    if (view.cluster == null && this.#cluster != null) this.#exit(previous)
    this.#enter()
    if (this.#cluster == null) return
    if (view.members !== previous.members) {
      const { added, changed, removed } = changesOf(previous.members, view.members)
      if (removed.length > 0) this.#twins.forget((peer) => view.members.has(peer))
      this.#parts.network.membershipChanged()
      this.actors.membersChanged()
      this.#redial.members(this.#wanted(view))
      for (const { id } of removed) this.#reports.forget(id)
      if (!view.members.has(this.self) && strangerState(this.self, view) === 'revoked') this.#hangUpAll()
      for (const { id, record } of [...added, ...changed.map(({ after }) => after)]) {
        const before = previous.members.get(id)?.record?.mesh_addresses
        if (id !== this.self && before?.join() !== record?.mesh_addresses.join()) this.#redial.hint(id)
      }
    }
    this.#presence.headsChanged()
    this.#reports.follow(this.#partners(view))
  }

  /** Partners that do not follow learn of it by a beat. */
  #reported(): void {
    if (!this.#reports.tell(this.#partners(this.#parts.replica.view()))) this.#presence.changed()
  }

  #heard(beat: Beat): void {
    if (this.#partners(this.#parts.replica.view()).has(beat.peer)) this.#reports.announced(beat.peer, beat.report)
    // During a burst of changes everybody differs for a moment; only a difference that stays is worth a sync.
    const settled = this.#parts.clock.monotonic() - this.#changedAt > settleMs
    if (!settled) return
    if (beat.vector !== this.#vector()) this.#sync.want(beat.peer)
    else if (isOtherDocument(this.#parts.replica.view(), beat)) this.#sync.doubt(beat.peer)
  }

  #heardAny(beat: Beat): void {
    this.#twins.heard(beat)
    const found = this.#twins.found()
    for (const twin of found) {
      if (this.#knownTwins.has(twin.peer)) continue
      this.#log.error(
        { peer: twin.peer, incarnations: twin.incarnations, said_by: twin.saidBy },
        twin.peer === this.self
          ? "another agent runs with this peer's identity; its state directory was copied"
          : "two agents run with one peer's identity; its state directory was copied"
      )
    }
    this.#knownTwins = new Set(found.map(({ peer }) => peer))
  }

  #silent(peer: PeerId): void {
    this.#log.info({ peer }, 'a peer is connected but silent; the connection is made anew')
    this.#background.run(() => this.#parts.network.hangUp(peer))
  }

  #presenceChanged(peer: PeerId): void {
    const presence = this.#presenceOf(peer)
    const { reachable } = presence
    if (reachable !== this.#reachable.has(peer)) {
      this.#log.info(
        { peer, rtt_ms: presence.rttMs },
        reachable ? 'a peer is reachable' : 'a peer is not reachable any more'
      )
      if (reachable) this.#reachable.add(peer)
      else this.#reachable.delete(peer)
    }
    for (const listener of this.#onPresence) listener(presence)
  }

  #presenceOf(id: PeerId): PeerPresence {
    const { network, replica, clock, version } = this.#parts
    const admitted = replica.isMember(id)
    const state = admitted ? 'admitted' : strangerState(id, replica.view())
    if (id === this.self) {
      return {
        id,
        state,
        reachable: true,
        addresses: network.addresses(),
        rttMs: 0,
        lastSeenAt: clock.now(),
        version,
        heads: replica.view().heads
      }
    }
    const presence = this.#roster.presence(id)
    if (!admitted) return { ...presence, state }
    // Of one that has dialled this peer, its end of the connection has a port that nobody can dial.
    const recorded = this.#addressesOf(id)
    return { ...presence, state, addresses: recorded.length > 0 ? recorded : network.remoteAddresses(id) }
  }

  #addressesOf(peer: PeerId): string[] {
    return this.#parts.replica.view().members.get(peer)?.record?.mesh_addresses ?? []
  }

  /** Members that this peer keeps a connection to: none once it has left or was thrown out. */
  #wanted(view: View): PeerId[] {
    return view.departed?.has(this.self) === true ? [] : this.#others(view)
  }

  #hangUpAll(): void {
    const { network } = this.#parts
    this.#log.warn({}, 'this peer was revoked; it talks to nobody of its cluster any more')
    for (const peer of network.connected()) this.#background.run(() => network.hangUp(peer))
  }

  #others(view: View): PeerId[] {
    return [...view.members.keys()].filter((peer) => peer !== this.self)
  }

  /** Asked at each beat of anybody, and another one only with another view. */
  #vector(): string {
    const { replica } = this.#parts
    const view = replica.view()
    if (this.#vectorOf?.view !== view) {
      const digest = Buffer.from(vectorDigest(replica.clusterId() ?? '', replica.vector())).toString('base64')
      this.#vectorOf = { view, digest }
    }
    return this.#vectorOf.digest
  }
}

function add<T>(set: Set<T>, listener: T): () => void {
  set.add(listener)
  return () => void set.delete(listener)
}
