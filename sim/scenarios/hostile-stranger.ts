import { encodeAdmit, FIRST } from '../../src/crdt/authlog.ts'
import { actorOf, sealEnvelope } from '../../src/crdt/envelope.ts'
import { Fold } from '../../src/crdt/fold.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import { newId } from '../../src/crdt/ids.ts'
import { createInvite, parseInvite } from '../../src/crdt/invite.ts'
import { Ledger } from '../../src/crdt/ledger.ts'
import type { EnvelopeBytes } from '../../src/crdt/replicated.ts'
import { JOIN_PROTOCOL } from '../../src/mesh/join/admission.ts'
import type { Network } from '../../src/mesh/network.ts'
import { frames } from '../../src/mesh/sync/frame.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { HostClock } from '../host/clock.ts'
import type { SimHost } from '../host/host.ts'
import { SimNetwork } from '../net/network.ts'
import type { SeededRandom } from '../random.ts'
import type { World } from '../world.ts'
import { fault, type Scenario } from './scenario.ts'

const attackEveryMs = 50
const attackMs = 20_000

/**
 * Somebody who was never let in, who knows the cluster's id and has recorded its traffic, tries every door of every
 * member: forged and used invites, introductions with an auth log of its own making, streams for members, gossip that is
 * replayed, changed, or signed by itself, garbage, and floods of all of it.
 */
export const hostileStranger: Scenario = {
  name: 'hostile-stranger',
  about: 'one who was never let in forges, replays, introduces itself and floods, at every member',
  peers: 5,
  durationMs: 25_000,
  workload: { everyMs: 300, servicesMax: 20 },
  founders: (peers) => peers - 1,
  faults: ({ random }) => [fault('loss', 5_000, 10_000, [], random.integer(1, 10))],
  async drive(world) {
    const stranger = world.hosts.at(-1)
    if (stranger != null) await new Attacker(world, stranger).attack()
  }
}

class Attacker {
  readonly #world: World
  readonly #host: SimHost
  readonly #random: SeededRandom
  readonly #clock: HostClock
  readonly #network: Network

  constructor(world: World, host: SimHost) {
    this.#world = world
    this.#host = host
    this.#random = world.random.fork('attacker')
    host.crash('process')
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

  async attack(): Promise<void> {
    const end = this.#world.now + attackMs
    await this.#network.start()
    const members = this.#world.members()
    const ways = [this.#forgedInvite, this.#introduction, this.#membersStream, this.#gossip, this.#garbage]
    while (this.#world.now < end) {
      await this.#world.scheduler.sleep(this.#random.between(0, 2 * attackEveryMs))
      const at = this.#random.pick(members)
      // An attack that fails is what is hoped for.
      void this.#random
        .pick(ways)
        .call(this, at)
        .catch(() => {})
    }
    await this.#network.stop()
  }

  async #ask(at: SimHost, protocol: string, messages: Uint8Array[]): Promise<void> {
    const signal = new AbortController().signal
    await this.#network.dial(at.id, [`/ip4/${at.station.ip}/tcp/7946`], { signal })
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
      encodeAdmit({ previous: FIRST, peer: this.#host.id, role: 'admin', name: 'intruder', invite })
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
    const signal = new AbortController().signal
    await this.#network.dial(at.id, [`/ip4/${at.station.ip}/tcp/7946`], { signal })
    const topic = `arctic/${this.#cluster()}/changes/1`
    for (const envelope of this.#forged()) await this.#network.publish(topic, Buffer.concat([Buffer.of(0), envelope]))
  }

  async #garbage(at: SimHost): Promise<void> {
    const protocol = this.#random.pick([JOIN_PROTOCOL, SYNC_PROTOCOL, '/arctic/report/1.0.0', '/unknown/1'])
    await this.#ask(at, protocol, [this.#random.bytes(this.#random.integer(0, 2_000))])
  }

  /** Recorded changes with a bit changed, and a service of its own making under its own signature. */
  #forged(): EnvelopeBytes[] {
    const changed = this.#random.sample(this.#world.recorded, 2).map((bytes) => {
      const copy = new Uint8Array(bytes)
      const at = this.#random.integer(0, bytes.length - 1)
      copy[at] = (copy[at] ?? 0) ^ (1 << this.#random.integer(0, 7))
      return copy
    })
    return [...changed, this.#ownService()]
  }

  #ownService(): EnvelopeBytes {
    const genesis = this.#world.hosts[0]?.agent?.replica.bootstrap().genesis
    if (genesis == null) throw new Error('there is nothing to imitate right now')
    const fold = new Fold(
      new Ledger(parseGenesis(genesis)),
      actorOf('change', this.#host.signer.publicKey, 1),
      () => new Uint8Array()
    )
    const [source, target] = this.#random.sample(this.#world.members(), 2)
    const body = fold.write((writer) =>
      writer.put('services', newId(this.#clock, this.#random), {
        name: 'intruder',
        source_peer_id: source?.id ?? '',
        target_peer_id: target?.id ?? ''
      })
    )
    return this.#sealed('change', body ?? new Uint8Array())
  }

  #sealed(kind: 'auth' | 'change', body: Uint8Array): EnvelopeBytes {
    const parts = { kind, incarnation: 1, seq: 1, writtenAt: this.#clock.now(), body }
    return sealEnvelope(this.#host.signer, this.#cluster(), parts).bytes
  }

  #selfMadeInvite(): string {
    return createInvite(this.#host.signer, {
      id: this.#random.bytes(16),
      clusterId: this.#cluster(),
      clusterName: 'sim',
      addresses: ['/ip4/198.18.0.1/tcp/7946'],
      expiresAt: this.#clock.now() + 3_600_000,
      uses: 1,
      role: 'admin'
    })
  }

  #cluster(): string {
    return this.#world.hosts[0]?.agent?.replica.clusterId() ?? ''
  }
}
