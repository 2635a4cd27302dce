import type { ReplicatedState } from '../crdt/state.ts'

/** Of the replica, the actors use this much: the view, and the writes that an operator can ask for. */
export type ReplicaPort = Pick<
  ReplicatedState,
  | 'view'
  | 'onView'
  | 'damage'
  | 'history'
  | 'originOf'
  | 'undo'
  | 'past'
  | 'verify'
  | 'signEpoch'
  | 'behind'
  | 'contradiction'
  | 'init'
  | 'revoke'
  | 'leave'
  | 'forget'
  | 'setRole'
  | 'renamePeer'
  | 'putPeer'
  | 'createService'
  | 'updateService'
  | 'deleteService'
  | 'addRoutes'
  | 'updateRoute'
  | 'deleteRoute'
  | 'createToken'
  | 'revokeToken'
  | 'setPolicy'
  | 'note'
>

interface KeyPairs {
  pegasus: { publicKey: string; privateKey: string }
  tempest: { publicKey: string; privateKey: string }
}

/** This peer's data-plane keys on disk. */
export interface KeyRingPort {
  readonly current: KeyPairs
  /** Good as well, while keys are being changed. */
  readonly before: KeyPairs | null
  /** By a clock that does not jump. */
  readonly ageMs: number
  rotate(): Promise<void>
  erase(): Promise<void>
  note(): Promise<void>
}

export interface KeySettings {
  /** Keys of this age are changed; null: never by age. */
  maxAgeMs: number | null
  /** For so long the keys before stay good. */
  overlapMs: number
}
