import { parseEnvelope } from '../../src/crdt/envelope.ts'
import { signerFromSeed, type Signer } from '../../src/crdt/signer.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { Station } from '../net/wire.ts'
import type { SeededRandom } from '../random.ts'
import type { World } from '../world.ts'
import { startAgent, stopAgent, type SimAgent } from './agent.ts'
import { HostClock, type WallClock } from './clock.ts'
import { MemoryDisk } from './disk.ts'
import { SimKernel } from './kernel.ts'
import { hostLogger } from './log.ts'

/** How long a supervisor waits before it starts an agent that would not start, ms. */
const respawnMs = 1_000

/** A machine: what stays when its agent comes and goes, and what a fault can do to it. */
export class SimHost {
  readonly world: World
  readonly index: number
  readonly name: string
  readonly random: SeededRandom
  readonly signer: Signer
  readonly keys: { pegasus: string; tempest: string }
  readonly station: Station
  readonly kernel: SimKernel
  readonly disk: MemoryDisk
  readonly wall: WallClock = { offsetMs: 0, rate: 1 }
  /** Of the agents that ran here, the number of this one. */
  lives = 0
  agent: SimAgent | null = null
  #clock: HostClock | null = null

  constructor(world: World, index: number) {
    const [high, low] = [index >> 8, index & 0xff]
    this.world = world
    this.index = index
    this.name = `host-${index}`
    this.random = world.random.fork(this.name)
    this.signer = signerFromSeed(this.random.bytes(32))
    const key = (): string => Buffer.from(this.random.bytes(32)).toString('base64')
    this.keys = { pegasus: key(), tempest: key() }
    this.station = world.wire.station(index, `198.18.${high}.${low + 1}`)
    this.kernel = new SimKernel(this.station.ip, `10.${high}.${low}.1`)
    this.disk = new MemoryDisk(this.random.fork('disk'))
  }

  get id(): string {
    return this.signer.peerId
  }

  /** Starts an agent, again and again until it starts, as a supervisor does. */
  async boot(): Promise<void> {
    this.station.powered = true
    for (;;) {
      const clock = new HostClock(this.world.scheduler, this.wall, () => this.station.frozenUntil)
      this.#clock?.halt()
      this.#clock = clock
      this.lives++
      try {
        const agent = await startAgent(this, clock, hostLogger(this))
        this.agent = agent
        agent.replica.onLocal((envelope) => this.world.acknowledged(this, parseEnvelope(envelope)))
        agent.replica.onView((view, before) => {
          if (view.heads !== before.heads) this.world.trace.heads(this.index, view.heads)
        })
        this.world.trace.note(this.index, 'life', 'up')
        return
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error
        this.world.trace.note(this.index, 'life', `does not start: ${error.code}`)
        this.disk.processEnded()
        await clock.sleep(respawnMs)
      }
    }
  }

  /** kill -9, or the plug is pulled. */
  crash(how: 'process' | 'power'): void {
    this.world.trace.note(this.index, 'life', how === 'power' ? 'power failed' : 'killed')
    this.#clock?.halt()
    this.agent?.network.crash({ silent: how === 'power' })
    this.station.listener = null
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
    const { agent } = this
    if (agent == null) return {}
    this.agent = null
    await stopAgent(agent, mode)
    // Ours are the two of `boot`.
    const subscriptions = agent.subscriptions() - 2
    const leftovers = {
      ...agent.network.leftovers(),
      timers: agent.clock.pending,
      subscriptions,
      events: agent.dataplane.listeners
    }
    this.#clock?.halt()
    this.world.trace.note(this.index, 'life', 'stopped')
    return leftovers
  }
}
