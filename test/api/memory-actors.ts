import { createActor } from 'xstate'
import { agentMachine } from '../../src/actors/agent/agent.machine.ts'
import { EventFeed } from '../../src/actors/event-feed.ts'
import { ActorWindow, servedActors } from '../../src/actors/operator/actor-window.ts'
import { ActorNouns } from '../../src/actors/operator/actors.ts'
import { attachRecorder, recorded } from '../../src/actors/runtime/recorded.ts'
import { FlightRecorder } from '../../src/actors/runtime/recorder.ts'
import type { Clock } from '../../src/clock.ts'
import type { View } from '../../src/crdt/view.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { FakeMesh, FakeWire } from '../actors/fakes/mesh.ts'

/** The real actors of one agent, for the services and peers they are told of, and those of another peer beside it. */
export class MemoryActors {
  readonly window: ActorWindow
  readonly wire = new FakeWire()
  readonly #agent
  readonly #recorder
  readonly #live = new Set<string>()

  constructor(self: string, other: string, clock: Clock, view: () => View, log: Logger = silentLogger) {
    const here = new FakeMesh(self, this.wire)
    const there = new FakeMesh(other, this.wire)
    const parts = { clock, log, view }
    const own = agentOf(here, parts)
    this.#agent = own.agent
    this.#recorder = own.recorder
    there.actors.serve(servedActors(agentOf(there, parts).nouns))
    this.window = new ActorWindow(own.nouns, { mesh: here, replica: { view } })
  }

  /** Starts those that are missing. */
  stand(kind: 'peer' | 'service', ids: Iterable<string>): this {
    for (const id of ids) {
      if (this.#live.has(`${kind}:${id}`)) continue
      this.#live.add(`${kind}:${id}`)
      const input = { id, self: false, role: 'source', log: silentLogger }
      const pool = this.#agent.getSnapshot().children[`${kind}s`]
      pool?.send({ type: 'child.start', id: `${kind}:${id}`, input } as never)
    }
    return this
  }

  end(kind: 'peer' | 'service', id: string): void {
    this.#live.delete(`${kind}:${id}`)
    this.#agent.getSnapshot().children[`${kind}s`]?.send({ type: 'child.stop', id: `${kind}:${id}` } as never)
  }

  /** Watches and monitors that are open here. */
  get watches(): number {
    return this.#recorder.listeners
  }
}

function agentOf(mesh: FakeMesh, { clock, log, view }: { clock: Clock; log: Logger; view: () => View }) {
  const recorder = new FlightRecorder(() => clock.now())
  const agent = createActor(recorded(agentMachine(clock)), { id: 'agent', input: { log, onFatal: () => {} } })
  attachRecorder(agent.system, recorder)
  agent.start()
  const feed = new EventFeed({ clock, log })
  const told = { forget: () => {} }
  return {
    agent,
    recorder,
    nouns: new ActorNouns({ agent, recorder, feed, clock, log, mesh, replica: { view, note: async () => {} }, told })
  }
}
