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
