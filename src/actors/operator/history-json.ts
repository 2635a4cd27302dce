import type { FieldValue } from '../../crdt/document.ts'
import type { HistoryObject } from '../../crdt/history.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { Concerned } from './wait.ts'

/** Which changes to show; all that is given must fit. */
export interface HistoryQuery {
  /** A service and its routes, by id or name; one that is gone by id. */
  service?: string
  /** Any one service, route or peer. */
  object?: string
  author?: string
  /** ISO 8601. */
  since?: string
  limit?: number
}

/** One change of the cluster: who, what, when, and whether it counts. */
export interface ChangeJson {
  /** Hex; names the change. */
  id: string
  at: string
  author: PeerId
  author_name: string | null
  /** On whose behalf, as the author says: `token ID NAME`; null for the operator of its own host, and for itself. */
  via: string | null
  /** `auth`: of who belongs to the cluster. `other`: of a newer version; this one only holds it. */
  kind: 'change' | 'auth' | 'other'
  objects: ChangedObjectJson[]
  /** The author's signature was checked again for this answer. */
  verified: boolean
  /** It counts; else `reason` says why not. */
  valid: boolean
  reason: string | null
}

export interface ChangedObjectJson {
  kind: HistoryObject['kind']
  id: string
  name: string | null
  action: HistoryObject['action']
  /** Per field; `before` is left out where there was nothing, `after` where nothing is left. */
  fields: Record<string, { before?: FieldValue | undefined; after?: FieldValue | undefined }>
}

/** What an undo did. */
export interface UndoneJson {
  /** Hash of the change that was taken back. */
  undone: string
  /** The change that did it; undo this one, and the other is made again. */
  change: ChangeJson
  /** The services that it concerns. */
  services: Concerned[]
}
