import type { PeerId } from '../../crdt/schema.ts'
import type { Chart } from '../runtime/chart.ts'
import type { Taken } from '../runtime/takes.ts'
import type { ActorJson } from './operator.ts'

export type { DeathNotice } from '../../mesh/actor-protocol/actors.ts'
export type { Chart, ChartState } from '../runtime/chart.ts'

/** An actor looked into. */
export interface ActorDetailJson extends ActorJson {
  /** The peer whose agent it lives in. */
  peer_id: PeerId
  /** What it works with, as far as that is data; long lists are cut. */
  context: Record<string, unknown>
  /** What may be sent to it. */
  takes: Taken[]
  /** Null for logic that is no machine. */
  chart: Chart | null
  history: TransitionJson[]
}

/** One step of an actor. */
export interface TransitionJson {
  at: string
  path: string
  /** Type of the event that caused it; `start` and `stop` for an actor's first and last moment. */
  event: string
  reason: string | null
  from: string | null
  to: string | null
  status: ActorJson['status']
  /** Who sent the event by hand; null for the agent's own doing. */
  by: string | null
}

/** Of a watched actor: its step, or how it stands when the watch begins (`event` null then). */
export type ActorUpdateJson = Omit<TransitionJson, 'event'> & { event: string | null }

/** An event as an operator sends it: its type, and the fields that the actor's `takes` name. */
export type SentEvent = { type: string } & Record<string, unknown>

/** What became of it. */
export interface ActorSentJson {
  path: string
  event: string
  from: string | null
  to: string | null
  status: ActorJson['status']
  /** The steps that it caused, of this actor and of others. */
  caused: TransitionJson[]
}
