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
  until?: string
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
  /** Its signature has not come yet: it is behind a snapshot that this peer has joined with. */
  pending?: true
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

/** What came of verifying the whole history again. */
export interface VerificationJson {
  ok: boolean
  cluster_id: string
  founder: PeerId
  founded_at: string
  /** Envelopes whose hash, signature and form are good and that build on what comes before them, up to the first flaw. */
  verified: number
  changes: number
  auth_entries: number
  /** Of both, those that do not count: by the rules, not by a flaw. */
  invalid: number
  authors: number
  bytes: number
  /** `position` in this peer's log, from 1; 0 is the genesis. */
  flaw: {
    position: number
    id: string | null
    author: PeerId | null
    author_name: string | null
    message: string
  } | null
}

/** What the history had come to, as an admin has signed it. */
export interface EpochJson {
  /** Hash of the entry of the auth log. */
  id: string
  at: string
  author: PeerId
  author_name: string | null
  /** Changes and entries of the auth log that it covers. */
  entries: number
  /** Size and SHA-256 of the snapshot that a peer which joins takes over. */
  bytes: number
  digest: string
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
