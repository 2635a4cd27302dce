import { UnavailableError } from '../../../src/errors.ts'
import type { ActorHandler, DeathNotice, PeerActors, Refusal } from '../../../src/mesh/actor-protocol/actors.ts'
import type { ActorEvent, Question } from '../../../src/mesh/actor-protocol/frame.ts'
import type { FakeWire } from './mesh.ts'

interface Letter {
  path: string
  event: ActorEvent
  by: string
}

/** Actors of the other agents of a {@link FakeWire}, asked in the same process; what is told goes through JSON. */
export class FakePeerActors implements PeerActors {
  readonly #self: string
  readonly #wire: FakeWire
  handler: ActorHandler | null = null

  constructor(self: string, wire: FakeWire) {
    this.#self = self
    this.#wire = wire
  }

  serve(handler: ActorHandler): void {
    this.handler = handler
  }

  async ask(peer: string, { what, path, of }: Question): Promise<unknown> {
    return plain(await this.#of(peer).ask(what, path, { of, role: 'admin' }))
  }

  async send(peer: string, { path, event, by }: Letter): Promise<unknown> {
    return plain(await this.#of(peer).send(path, event, `${by} at ${this.#self}`))
  }

  async tell(peer: string, letter: Letter): Promise<void> {
    await this.send(peer, letter)
  }

  async watch(
    peer: string,
    path: string | null,
    { onUpdate }: { onUpdate: (update: unknown) => void }
  ): Promise<() => void> {
    return this.#of(peer).watch(path, (_key, update) => onUpdate(plain(update)))
  }

  async monitor(peer: string, path: string, onEnd: (notice: DeathNotice) => void): Promise<() => void> {
    return this.#of(peer).monitor(path, onEnd)
  }

  refused(): ReadonlyMap<Refusal, number> {
    return new Map<Refusal, number>()
  }

  #of(peer: string): ActorHandler {
    const handler = this.#wire.connected(this.#self, peer) ? this.#wire.meshes.get(peer)?.actors.handler : null
    if (handler == null) throw new UnavailableError(`peer ${peer} is not connected`)
    return handler
  }
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
