import { isoTime } from '../../src/clock.ts'
import { encodeAdmit, FIRST } from '../../src/crdt/authlog.ts'
import { actorOf, sealEnvelope } from '../../src/crdt/envelope.ts'
import { Fold } from '../../src/crdt/fold.ts'
import { parseGenesis, type Genesis } from '../../src/crdt/genesis.ts'
import { newId } from '../../src/crdt/ids.ts'
import { createInvite, parseInvite } from '../../src/crdt/invite.ts'
import { Ledger } from '../../src/crdt/ledger.ts'
import type { EnvelopeBytes } from '../../src/crdt/replicated.ts'
import { JOIN_PROTOCOL } from '../../src/mesh/join/admission.ts'
import type { Audience, Network } from '../../src/mesh/network.ts'
import { frames } from '../../src/mesh/sync/frame.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { HostClock } from '../host/clock.ts'
import type { SimHost } from '../host/host.ts'
import { attackEveryMs, floodMessages } from '../limits.ts'
import { SimNetwork } from '../net/network.ts'
import type { SeededRandom } from '../random.ts'
import type { World } from '../world.ts'

type Way = (at: SimHost) => Promise<void>

const AUDIENCES: readonly Audience[] = ['connected', 'all']

/**
 * Somebody who has a host's key and the cluster's traffic on record, and tries every door of every member. A stranger
 * forges invites and introduces itself by an auth log of its own making; a traitor is a member, whose streams are served,
 * and who signs two things as one. Both replay, change what they replay, claim what they may not, send garbage and flood.
 */
export class Attacker {
  readonly #world: World
  readonly #host: SimHost
  readonly #random: SeededRandom
  readonly #clock: HostClock
  readonly #network: Network
  readonly #genesis: Genesis
  /** Far from those that the host's own agent has had or will have. */
  #incarnation = 1_000_000

  /** In place of the host's own agent, which is killed. */
  constructor(world: World, host: SimHost) {
    const genesis = world.up()[0]?.agent?.replica.bootstrap().genesis
    if (genesis == null) throw new Error('there is no cluster to attack')
    this.#genesis = parseGenesis(genesis)
    this.#world = world
    this.#host = host
    this.#random = world.random.fork(`attacker ${host.index}`)
    if (host.agent != null) host.crash('process')
    this.#clock = new HostClock(world.scheduler, host.wall, () => host.station.frozenUntil)
    this.#network = new SimNetwork({
      self: host.id,
      station: host.station,
      wire: world.wire,
      clock: this.#clock,
      random: this.#random.fork('network'),
      trace: world.trace,
      membership: { isMember: () => true, inCluster: () => true },
      openProtocols: [JOIN_PROTOCOL]
    })
  }

  /** For so many ms. */
  asStranger(ms: number): Promise<void> {
    return this.#attack(ms, [this.#forgedInvite, this.#introduction, this.#membersStream, this.#gossip, this.#garbage])
  }

  asTraitor(ms: number): Promise<void> {
    const ways = [this.#membersStream, this.#gossip, this.#garbage, this.#flood, this.#equivocation]
    return this.#attack(ms, ways)
  }

  async #attack(ms: number, ways: Way[]): Promise<void> {
    const end = this.#world.now + ms
    await this.#network.start()
    while (this.#world.now < end) {
      await this.#world.scheduler.sleep(this.#random.between(0, 2 * attackEveryMs))
      const members = this.#world.members()
      if (members.length === 0) continue
      const at = this.#random.pick(members)
      // An attack that fails is what is hoped for.
      void this.#random
        .pick(ways)
        .call(this, at)
        .catch(() => {})
    }
    await this.#network.stop()
    this.#clock.halt()
  }

  async #ask(at: SimHost, protocol: string, messages: Uint8Array[]): Promise<void> {
    const signal = new AbortController().signal
    await this.#dial(at)
    const channel = await this.#network.open(at.id, protocol, { signal })
    for (const message of messages) await channel.send(message)
    while ((await channel.receive({ signal })) != null);
  }

  /** Signed by itself, for this very cluster; or one that was good and is used up. */
  async #forgedInvite(at: SimHost): Promise<void> {
    const token = this.#selfMadeInvite()
    await this.#ask(at, JOIN_PROTOCOL, [Buffer.from(JSON.stringify({ token, name: 'intruder' }))])
  }

  /** "I am a member": its own admission by itself, and whatever it has recorded. */
  async #introduction(at: SimHost): Promise<void> {
    const invite = parseInvite(this.#selfMadeInvite()).bytes
    const admission = this.#sealed(
      'auth',
      encodeAdmit({ previous: FIRST, peer: this.#host.id, role: 'admin', name: 'intruder', invite }),
      this.#incarnation++
    )
    const batch = [admission, ...this.#random.sample(this.#world.recorded, 3), ...this.#forged()]
    await this.#ask(at, JOIN_PROTOCOL, [
      Buffer.from(JSON.stringify({ introduce: true })),
      frames.batch(batch),
      frames.end()
    ])
  }

  async #membersStream(at: SimHost): Promise<void> {
    await this.#ask(at, SYNC_PROTOCOL, [
      frames.digest(this.#random.bytes(32)),
      frames.vector({}),
      frames.batch(this.#forged())
    ])
  }

  async #gossip(at: SimHost): Promise<void> {
    await this.#dial(at)
    const topic = `arctic/${this.#genesis.clusterId}/changes/1`
    for (const envelope of this.#forged()) {
      await this.#network.publish(topic, Buffer.concat([Buffer.of(0), envelope]), this.#random.pick(AUDIENCES))
    }
  }

  async #garbage(at: SimHost): Promise<void> {
    const protocol = this.#random.pick([JOIN_PROTOCOL, SYNC_PROTOCOL, '/arctic/report/1.0.0', '/unknown/1'])
    await this.#ask(at, protocol, [this.#random.bytes(this.#random.integer(0, 2_000))])
  }

  /** More than anybody has use for, at once. */
  async #flood(at: SimHost): Promise<void> {
    await this.#dial(at)
    const topics = [`arctic/${this.#genesis.clusterId}/changes/1`, `arctic/${this.#genesis.clusterId}/presence/1`]
    for (let i = 0; i < floodMessages; i++) {
      const message = this.#random.bytes(this.#random.integer(0, 200))
      await this.#network.publish(this.#random.pick(topics), message, this.#random.pick(AUDIENCES))
      if (i % 8 === 0) void this.#garbage(at).catch(() => {})
    }
  }

  /** Two services under one number, one for some and the other one for the others. */
  async #equivocation(at: SimHost): Promise<void> {
    const incarnation = this.#incarnation++
    const others = this.#random.sample(this.#world.members(), 1)
    const asked = [at, ...others].map((host) => {
      const messages = [
        frames.digest(this.#random.bytes(32)),
        frames.vector({}),
        frames.batch([this.#ownService(incarnation)])
      ]
      // Who is asked waits for the end of this, and so would whoever asks one after the other.
      return this.#ask(host, SYNC_PROTOCOL, messages)
    })
    await Promise.allSettled(asked)
  }

  /** Recorded changes with a bit changed, and a service of its own making under its own signature. */
  #forged(): EnvelopeBytes[] {
    const changed = this.#random.sample(this.#world.recorded, 2).map((bytes) => {
      const copy = new Uint8Array(bytes)
      const at = this.#random.integer(0, bytes.length - 1)
      copy[at] = (copy[at] ?? 0) ^ (1 << this.#random.integer(0, 7))
      return copy
    })
    return [...changed, ...this.#random.sample(this.#world.recorded, 1), this.#ownService(this.#incarnation++)]
  }

  /** Well made and signed, under no right; by an admin it would count, if it were not one of two. */
  #ownService(incarnation: number): EnvelopeBytes {
    const actor = actorOf('change', this.#host.signer.publicKey, incarnation)
    const fold = new Fold(new Ledger(this.#genesis), actor, () => new Uint8Array())
    const [source, target] = this.#random.sample(this.#world.members(), 2)
    const id = newId(this.#clock, this.#random)
    if (!this.#world.wereAdmins.has(this.#host.id)) this.#world.forged.add(id)
    const at = isoTime(this.#clock.now())
    const body = fold.write((writer) =>
      writer.put('services', id, {
        name: 'intruder',
        source_peer_id: source?.id ?? '',
        target_peer_id: target?.id ?? '',
        transport_type: 'tcp',
        requires_interface: false,
        desired_ipv4_cidr: null,
        desired_ipv6_cidr: null,
        bandwidth_limit_mbps: 0,
        fully_transparent: false,
        created_at: at,
        updated_at: at
      })
    )
    return this.#sealed('change', body ?? new Uint8Array(), incarnation)
  }

  #sealed(kind: 'auth' | 'change', body: Uint8Array, incarnation: number): EnvelopeBytes {
    const parts = { kind, incarnation, seq: 1, writtenAt: this.#clock.now(), body }
    return sealEnvelope(this.#host.signer, this.#genesis.clusterId, parts).bytes
  }

  #selfMadeInvite(): string {
    return createInvite(this.#host.signer, {
      id: this.#random.bytes(16),
      clusterId: this.#genesis.clusterId,
      clusterName: 'sim',
      addresses: ['/ip4/198.18.0.1/tcp/7946'],
      expiresAt: this.#clock.now() + 3_600_000,
      uses: 1,
      role: 'admin',
      via: null
    })
  }

  async #dial(at: SimHost): Promise<void> {
    const signal = new AbortController().signal
    await this.#network.dial(at.id, [`/ip4/${at.station.ip}/tcp/7946`], { signal })
  }
}
