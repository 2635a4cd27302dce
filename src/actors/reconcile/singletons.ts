import type { AnyActorRef } from 'xstate'
import type { Dataplane, DesiredState } from '../../dataplane/desired.ts'
import { childOf } from '../runtime/supervisor.logic.ts'

type Engine = 'pegasus' | 'tempest'

const ENGINES: Engine[] = ['pegasus', 'tempest']
const ENGINE_EVENTS = {
  starting: 'engine.started',
  ready: 'engine.ready',
  failed: 'engine.exited',
  stopped: 'engine.exited'
} as const

/** Facts and wishes for the agent's single actors. One that is away for a restart is told again when it is back. */
export class Singletons {
  readonly #agent: AnyActorRef
  readonly #dataplane: Dataplane

  constructor(agent: AnyActorRef, dataplane: Dataplane) {
    this.#agent = agent
    this.#dataplane = dataplane
  }

  tellNetmgr(desired: DesiredState): void {
    this.#ref('netmgr')?.send({ type: 'netmgr.apply', desired })
  }

  tellEngine(engine: Engine, event: { type: string }): void {
    this.#ref(engine)?.send(event)
  }

  tellKeys(changing: boolean): void {
    this.#ref('keys')?.send({ type: changing ? 'keys.changing' : 'keys.settled' })
  }

  /** Each engine's actor gets to know how its process stands now. */
  tellEngines(): void {
    if (this.#dataplane.mode === 'none')
      for (const engine of ENGINES) this.tellEngine(engine, { type: 'engine.disabled' })
    for (const { engine, state } of this.#dataplane.engines()) this.tellEngine(engine, { type: ENGINE_EVENTS[state] })
  }

  #ref(id: string): AnyActorRef | null {
    return childOf(this.#agent.getSnapshot().children['singletons'], id)
  }
}
