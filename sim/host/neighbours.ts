import type { Clock, Timer } from '../../src/clock.ts'
import type { PeerId } from '../../src/crdt/schema.ts'
import type { View } from '../../src/crdt/view.ts'
import { Background } from '../../src/mesh/background.ts'
import type { Network } from '../../src/mesh/network.ts'
import { lightDegree, lightUpkeepMs } from '../limits.ts'
import type { SeededRandom } from '../random.ts'

/**
 * The connections of a light agent, in place of the product's one to each member: to the member after it in the order of
 * ids, so that all are one ring, and to others at random until there are `lightDegree`.
 */
export class Neighbours {
  readonly #network: Network
  readonly #view: () => View
  readonly #clock: Clock
  readonly #random: SeededRandom
  readonly #background = new Background(() => {})
  readonly #dialling = new Set<PeerId>()
  #timer: Timer | null = null

  constructor(parts: { network: Network; view: () => View; clock: Clock; random: SeededRandom }) {
    this.#network = parts.network
    this.#view = parts.view
    this.#clock = parts.clock
    this.#random = parts.random
  }

  start(): void {
    this.#timer ??= this.#clock.every(lightUpkeepMs, () => this.#evaluate())
    this.#evaluate()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.#background.stop()
  }

  #evaluate(): void {
    const { self } = this.#network
    const { members } = this.#view()
    if (!members.has(self)) return
    const near = new Set([...this.#network.connected(), ...this.#dialling, self])
    // In the order of ids; whoever has not said yet where it is reached is met later.
    const others = [...members.values()].filter(({ record }) => record != null).map(({ id }) => id)
    const next = others.find((id) => id > self) ?? others[0]
    if (next != null && !near.has(next)) near.add(this.#dial(next))
    for (let tries = 0; near.size <= lightDegree && tries < lightDegree && others.length > 0; tries++) {
      const peer = this.#random.pick(others)
      if (!near.has(peer)) near.add(this.#dial(peer))
    }
  }

  #dial(peer: PeerId): PeerId {
    const addresses = this.#view().members.get(peer)?.record?.mesh_addresses ?? []
    this.#dialling.add(peer)
    this.#background.run((signal) =>
      this.#network.dial(peer, addresses, { signal }).finally(() => this.#dialling.delete(peer))
    )
    return peer
  }
}
