import type { PeerId, Role } from '../../crdt/schema.ts'
import type { ActorEvent, DeathNotice, Question } from './frame.ts'

export type { DeathNotice } from './frame.ts'

export const ACTOR_PROTOCOL = '/arctic/actor/1.0.0'

/**
 * What an agent does for other members with its own actors. Everything may throw or reject with ArcticError, which the
 * asker then meets as if it had happened there. `by` says who asks, the proven peer included.
 */
export interface ActorHandler {
  /** `what` is a word that both agents know (`tree`, `inspect`), `of` any JSON; so is the answer. `role` is the asker's. */
  ask(what: string, path: string | null, asked: { of: unknown; role: Role }): unknown
  /** Called in the order of arrival. Answers what the event caused. */
  send(path: string, event: ActorEvent, by: string): Promise<unknown>
  /** Updates from now on; of those with one key a slow reader needs only the newest. Returns the unsubscriber. */
  watch(path: string | null, listener: (key: string, update: unknown) => void): () => void
  /** Calls once, when the actor ends. Returns the unsubscriber. */
  monitor(path: string, onEnd: (notice: DeathNotice) => void): () => void
}

/**
 * The actors of other members. Members may ask, watch and monitor, admins may send, and the agent there checks that; it
 * may keep an answer for admins. An
 * event is delivered at most once, and in the order of the calls as long as the connection stands.
 */
export interface PeerActors {
  /** From now on this agent's actors are served by `handler`. */
  serve(handler: ActorHandler): void
  /** UnavailableError when the peer does not answer in time, else whatever it refused with. */
  ask(peer: PeerId, question: Question, options?: { signal?: AbortSignal }): Promise<unknown>
  /** Resolves with what the event did. After an UnavailableError nobody knows whether it was delivered. */
  send(
    peer: PeerId,
    letter: { path: string; event: ActorEvent; by: string },
    options?: { signal?: AbortSignal }
  ): Promise<unknown>
  /** Resolves when the event is on its way; whether it was heard or refused is not told. */
  tell(
    peer: PeerId,
    letter: { path: string; event: ActorEvent; by: string },
    options?: { signal?: AbortSignal }
  ): Promise<void>
  /**
   * Resolves once the watch stands. It survives the connection: after a redial it is begun anew, and the first update
   * says again how the actor stands. `onEnd` is called when the peer refuses it then, or is no member any more.
   */
  watch(
    peer: PeerId,
    path: string | null,
    listeners: { onUpdate: (update: unknown) => void; onEnd: (error: unknown) => void },
    options?: { signal?: AbortSignal }
  ): Promise<() => void>
  /** Resolves once the monitor stands. A monitor does not survive the connection: `unreachable` is its notice then. */
  monitor(
    peer: PeerId,
    path: string,
    onEnd: (notice: DeathNotice) => void,
    options?: { signal?: AbortSignal }
  ): Promise<() => void>
  /** What was refused of other peers since the start, by reason. */
  refused(): ReadonlyMap<Refusal, number>
}

/** `malformed`: no message of the protocol. `forbidden`: an event of who is no admin. `limit`: too many watches. */
export type Refusal = 'malformed' | 'forbidden' | 'limit'
