import { createActor } from 'xstate'
import { agentMachine } from '../../src/actors/agent/agent.machine.ts'
import { EventFeed } from '../../src/actors/event-feed.ts'
import { ActorNouns } from '../../src/actors/operator/actors.ts'
import { attachRecorder, recorded } from '../../src/actors/runtime/recorded.ts'
import { FlightRecorder } from '../../src/actors/runtime/recorder.ts'
import type { Clock } from '../../src/clock.ts'
import type { View } from '../../src/crdt/view.ts'
import { type Logger, silentLogger } from '../../src/log.ts'

/** Real actors that stand for the services and peers they are told of, and nothing else. */
export class MemoryActors {
  readonly #agent
  readonly nouns: ActorNouns
  readonly #live = new Set<string>()

  constructor(self: string, clock: Clock, view: () => View, log: Logger = silentLogger) {
    const recorder = new FlightRecorder(() => clock.now())
    this.#agent = createActor(recorded(agentMachine(clock)), { id: 'agent', input: { log, onFatal: () => {} } })
    attachRecorder(this.#agent.system, recorder)
    this.#agent.start()
    this.nouns = new ActorNouns({
      agent: this.#agent,
      recorder,
      feed: new EventFeed({ clock, log }),
      clock,
      log,
      mesh: { self, peers: () => [], peer: () => null },
      replica: { view },
      told: { forget: () => {} }
    })
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
}
