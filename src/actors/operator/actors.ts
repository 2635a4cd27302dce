import type { AnyActorRef } from 'xstate'
import { isoTime } from '../../clock.ts'
import type { ActorNote } from '../../crdt/note.ts'
import {
  ArcticError,
  InvalidRequestError,
  NotInClusterError,
  PeerNotFoundError,
  ServiceNotFoundError,
  UnavailableError
} from '../../errors.ts'
import { actorWatchesMax } from '../limits.ts'
import { addressOf, parseAddress } from '../runtime/address.ts'
import { chartOf } from '../runtime/chart.ts'
import { presentable } from '../runtime/presentable.ts'
import type { Transition } from '../runtime/recorder.ts'
import { checkTaken, takenBy } from '../runtime/takes.ts'
import { findActor, treeOf } from '../runtime/tree.ts'
import type {
  ActorDetailJson,
  ActorSentJson,
  ActorUpdateJson,
  DeathNotice,
  SentEvent,
  TransitionJson
} from './actor-json.ts'
import type { OperatorDeps } from './deps.ts'
import { KeyedSerial } from './keyed-serial.ts'
import type { ActorJson } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'
import { findService } from './service-ref.ts'

/** No actor of that address lives here. */
export class ActorNotFoundError extends ArcticError {
  constructor(path: string) {
    super('not_found', `no actor "${path}" lives here; see "arctic actors tree"`, { actor: path })
  }
}

export interface ActorNounParts extends Pick<OperatorDeps, 'agent' | 'recorder' | 'feed' | 'clock' | 'log'> {
  mesh: Pick<OperatorDeps['mesh'], 'self' | 'peers' | 'peer'>
  replica: Pick<OperatorDeps['replica'], 'view' | 'note'>
  /** What the agent's own parts have told each actor last. */
  told: { forget(address: string): void }
}

/**
 * The actors of this agent, looked into, spoken to and watched. An actor is named by its address; services and peers in
 * it may go by name (`service:web`, `tunnel:edge-b`).
 */
export class ActorNouns {
  readonly #deps: ActorNounParts
  readonly #sending = new KeyedSerial()
  #watches = 0

  constructor(deps: ActorNounParts) {
    this.#deps = deps
  }

  tree(): ActorJson {
    return treeOf(this.#deps.agent)
  }

  inspect(path: string): ActorDetailJson {
    const actor = this.#find(path)
    return {
      ...treeOf(actor),
      peer_id: this.#deps.mesh.self,
      context: presentable(actor.getSnapshot()?.context),
      takes: takenBy(actor),
      chart: chartOf(actor),
      history: this.#deps.recorder.of(actor.id).map(transitionJson)
    }
  }

  /** Steps on record, oldest first, of an actor that lives or has lived here. ActorNotFoundError when there are none. */
  history(path: string): TransitionJson[] {
    const address = this.#address(path)
    const steps = this.#deps.recorder.of(address)
    if (steps.length === 0) this.#find(path)
    return steps.map(transitionJson)
  }

  /**
   * Writes into the history of the cluster who sends what, then delivers it; one after the other, in the order of the
   * calls. Refusals as in `checkTaken`; ActorNotFoundError; UnavailableError when it cannot be written, so is not sent.
   */
  send(path: string, event: SentEvent, { by }: { by: string }): Promise<ActorSentJson> {
    return this.#sending.run('', async () => {
      const actor = this.#find(path)
      checkTaken(actor, event)
      await this.#note({ actor: actor.id, event, by })
      return this.#deliver(path, event, by)
    })
  }

  /** An agent that is in no cluster has a log only. */
  async #note(note: ActorNote): Promise<void> {
    try {
      await this.#deps.replica.note(note)
    } catch (error) {
      if (!(error instanceof NotInClusterError)) throw error
    }
  }

  #deliver(path: string, event: SentEvent, by: string): ActorSentJson {
    const { recorder, told, feed, log } = this.#deps
    // While it was written, the actor may have moved on.
    const actor = this.#find(path)
    checkTaken(actor, event)
    const from = treeOf(actor).state
    const caused: TransitionJson[] = []
    const release = recorder.on((step) => caused.push(transitionJson(step)))
    try {
      recorder.causedBy(by, () => actor.send(event))
    } finally {
      release()
    }
    // What was told to it before counts no more: the next fact about it puts it right.
    told.forget(actor.id)
    const { state: to, status } = treeOf(actor)
    log.info({ actor: actor.id, event: event.type, by, from, to }, 'an event was sent by hand')
    feed.emit('actor.sent', { path: actor.id, event: event.type, by, from, to })
    return { path: actor.id, event: event.type, from, to, status, caused }
  }

  /**
   * Tells every step of that actor, of those it becomes after restarts, or with null of all. The first update says how
   * it stands. Returns the unsubscriber. UnavailableError when too many watch.
   */
  watch(path: string | null, listener: (update: ActorUpdateJson) => void): () => void {
    const actor = path == null ? null : this.#find(path)
    const release = this.#listen((step) => {
      if (actor == null || step.path === actor.id) listener(transitionJson(step))
    })
    if (actor != null) {
      const { state, status } = treeOf(actor)
      const at = isoTime(this.#deps.clock.now())
      listener({ at, path: actor.id, event: null, reason: null, from: null, to: state, status, by: null })
    }
    return release
  }

  /** Calls once, when that actor ends; its successor after a restart is another one. As `watch` otherwise. */
  monitor(path: string, onEnd: (notice: DeathNotice) => void): () => void {
    const { id } = this.#find(path)
    const release = this.#listen(({ path, status, reason }) => {
      if (path !== id || status === 'active') return
      release()
      onEnd({ status, reason })
    })
    return release
  }

  #listen(listener: (step: Transition) => void): () => void {
    if (this.#watches >= actorWatchesMax) {
      throw new UnavailableError(`${actorWatchesMax} watches of actors are open already; close one and try again`)
    }
    const release = this.#deps.recorder.on(listener)
    this.#watches++
    let open = true
    return () => {
      if (open) this.#watches--
      open = false
      release()
    }
  }

  #find(path: string): AnyActorRef {
    const actor = findActor(this.#deps.agent, this.#address(path))
    if (actor == null) throw new ActorNotFoundError(path)
    return actor
  }

  /** With names of services and peers replaced by their ids. */
  #address(path: string): string {
    const address = parseAddress(path)
    if (address?.name == null) return path
    const { kind, name } = address
    const view = this.#deps.replica.view()
    try {
      if (kind === 'service') return addressOf(kind, findService(name, view).id)
      if (kind === 'peer' || kind === 'tunnel') return addressOf(kind, resolvePeer(name, view, this.#deps.mesh))
    } catch (error) {
      // Gone from the view, it may still live; a name that fits two is the asker's to mend.
      if (error instanceof InvalidRequestError) throw error
      if (!(error instanceof ServiceNotFoundError || error instanceof PeerNotFoundError)) throw error
    }
    return kind === 'route' || kind === 'service' ? addressOf(kind, name.toUpperCase()) : path
  }
}

export const transitionJson = ({ at, ...step }: Transition): TransitionJson => ({ at: isoTime(at), ...step })
