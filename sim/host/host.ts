import { parseEnvelope } from '../../src/crdt/envelope.ts'
import { signerFromSeed, type Signer } from '../../src/crdt/signer.ts'
import type { HostNetworks } from '../../src/dataplane/never-taken.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { Station } from '../net/wire.ts'
import type { SeededRandom } from '../random.ts'
import type { World, Written } from '../world.ts'
import { startAgent, type Asked, type SimAgent } from './agent.ts'
import { HostClock, type WallClock } from './clock.ts'
import { MemoryDisk } from './disk.ts'
import { SimKernel } from './kernel.ts'
import { hostLogger } from './log.ts'

/** How long a supervisor waits before it starts an agent that would not start, ms. */
const respawnMs = 1_000

export interface HostOptions {
  /** Whose identity it has as well, by a copied disk. */
  original?: SimHost
  name?: string
  /** False for a host without a site behind it, whose routes are all there is. */
  lan?: boolean
  /** Of the real host that it stands for. */
  networks?: HostNetworks
  /** False for a light agent that writes no record of itself and connects to nobody by itself. */
  describes?: boolean
}

/** A machine: what stays when its agent comes and goes, and what a fault can do to it. */
export class SimHost {
  readonly world: World
  readonly index: number
  readonly name: string
  readonly random: SeededRandom
  /** Of its Ed25519 key. */
  readonly seed: Uint8Array
  readonly signer: Signer
  readonly keys: { pegasus: string; tempest: string }
  readonly station: Station
  readonly kernel: SimKernel
  readonly disk: MemoryDisk
  readonly describes: boolean
  readonly wall: WallClock = { offsetMs: 0, rate: 1 }
  /** Of the agents that ran here, the number of this one. */
  lives = 0
  agent: SimAgent | null = null
  /** The last change that was acknowledged here. */
  wrote: { actor: string; seq: number } | null = null
  /** The last entry of the auth log that was. */
  authorized: Omit<Written, 'host'> = { actor: '', from: 0, to: 0 }
  /** An agent of a newer version runs here. */
  isNewer = false
  #life: Life | null = null
  #booting: Promise<void> | null = null

  constructor(
    world: World,
    index: number,
    { original, name, lan = true, networks, describes = true }: HostOptions = {}
  ) {
    const [high, low] = [index >> 8, index & 0xff]
    this.world = world
    this.index = index
    this.name = name ?? `host-${index}`
    this.describes = describes
    this.random = world.random.fork(`host-${index}`)
    this.seed = original?.seed ?? this.random.bytes(32)
    this.signer = original?.signer ?? signerFromSeed(this.seed)
    const key = (): string => Buffer.from(this.random.bytes(32)).toString('base64')
    this.keys = original?.keys ?? { pegasus: key(), tempest: key() }
    this.station = world.wire.station(index, `198.18.${high}.${low + 1}`)
    this.kernel = new SimKernel(this.station.ip, lan ? `10.${high}.${low}.1` : null, networks)
    this.disk = new MemoryDisk(this.random.fork('disk'))
    if (original != null) this.disk.restore(original.disk)
  }

  get id(): string {
    return this.signer.peerId
  }

  /** Where stands what was written here since {@link wrote} was `before`. */
  writtenSince(before: SimHost['wrote']): Written {
    const { actor, seq: to } = this.wrote ?? { actor: '', seq: 0 }
    return { host: this, actor, from: before?.actor === actor ? before.seq + 1 : 1, to }
  }

  /** Starts an agent, again and again until it starts, as a supervisor does; or until it is killed on the way. */
  boot(): Promise<void> {
    this.#booting ??= this.#boot().finally(() => (this.#booting = null))
    return this.#booting
  }

  async #boot(): Promise<void> {
    this.station.powered = true
    while (this.agent == null) {
      const life = new Life(this.world, this)
      this.#life = life
      this.lives++
      try {
        const agent = await Promise.race([startAgent(this, life.clock, hostLogger(this)), life.ended])
        if (agent == null) return
        this.agent = agent
        agent.replica.onLocal((bytes) => {
          const envelope = parseEnvelope(bytes)
          this.world.trace.entry(this.index, envelope.hash)
          this.world.acknowledged(this, envelope)
        })
        agent.replica.onReceived(({ hash }) => this.world.trace.entry(this.index, hash))
        this.world.trace.note(this.index, 'life', 'up')
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error
        this.world.trace.note(this.index, 'life', `does not start: ${error.code}`)
        life.end()
        this.disk.processEnded()
        await this.world.scheduler.sleep(respawnMs)
      }
    }
  }

  /** What an operator here asks; UnavailableError when the agent goes away over it. */
  async ask<T>(question: (operator: Asked) => Promise<T>): Promise<T> {
    const [agent, life] = [this.agent, this.#life]
    if (agent == null || life == null) throw new UnavailableError(`${this.name} is not up`)
    const gone = life.ended.then(() => Promise.reject(new UnavailableError(`${this.name} went away`)))
    return Promise.race([question(agent.operator), gone])
  }

  /** kill -9, or the plug is pulled. */
  crash(how: 'process' | 'power'): void {
    this.world.trace.note(this.index, 'life', how === 'power' ? 'power failed' : 'killed')
    this.#life?.end()
    this.#life = null
    this.station.listener?.crash({ silent: how === 'power' })
    this.agent = null
    if (how === 'process') {
      this.disk.processEnded()
      return
    }
    this.station.powered = false
    this.disk.powerFailed()
    this.kernel.clear()
  }

  /** SIGTERM or SIGUSR2. What the agent leaves behind is named; nothing may be. */
  async stop(mode: 'remove' | 'keep'): Promise<Record<string, number>> {
    const [agent, life] = [this.agent, this.#life]
    if (agent == null || life == null) return {}
    this.agent = null
    const stopped = agent.stop(mode).then(() => true)
    if ((await Promise.race([stopped, life.ended])) == null) return {}
    // Ours are the two of `boot`.
    const subscriptions = agent.subscriptions() - 2
    const leftovers = {
      ...agent.network.leftovers(),
      timers: agent.clock.pending,
      subscriptions,
      events: agent.dataplane.listeners
    }
    life.end()
    this.world.trace.note(this.index, 'life', 'stopped')
    return leftovers
  }
}

/** Its address in the site behind it. */
export const siteOf = ({ kernel, name }: SimHost): string => {
  if (kernel.lan == null) throw new Error(`${name} has no site behind it`)
  return kernel.lan
}

/** From one start of an agent to its end, whatever that is. */
class Life {
  readonly clock: HostClock
  readonly ended: Promise<null>
  #resolve: (nothing: null) => void = () => {}

  constructor(world: World, { wall, station }: SimHost) {
    this.clock = new HostClock(world.scheduler, wall, () => station.frozenUntil)
    this.ended = new Promise((resolve) => (this.#resolve = resolve))
  }

  end(): void {
    this.clock.halt()
    this.#resolve(null)
  }
}
