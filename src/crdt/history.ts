import { isoTime, type Clock } from '../clock.ts'
import type { AuthEntry } from './authlog.ts'
import type { Cluster } from './cluster.ts'
import { SINGULAR, type FieldValue, type Kind } from './document.ts'
import { parseEnvelope, verifyEnvelope } from './envelope.ts'
import type { Entry } from './entries.ts'
import { historyBatchMax } from './limits.ts'
import type { ActorNote } from './note.ts'
import type { PeerId, Role } from './schema.ts'

/** Which part of the history to show; all that is given must fit. */
export interface HistoryFilter {
  /** Id of a service (its routes count as part of it), a route or a peer, actors of that name included. */
  object?: string
  author?: PeerId
  /** Wall-clock ms. */
  since?: number
  /** Wall-clock ms; that moment included. */
  until?: number
  limit?: number
}

export interface HistoryEntry {
  /** Hex; names the change. */
  id: string
  author: PeerId
  /** ISO 8601, by the author's clock. */
  at: string
  /** `other`: of a newer version, which this one holds for others. */
  kind: 'change' | 'auth' | 'other'
  /** On whose behalf the author made it, as it says: `token ID NAME`; null for its own operator. */
  via: string | null
  /** What it says to do. */
  objects: HistoryObject[]
  /** The signature was checked again just now. */
  verified: boolean
  /** Its signature is not here yet: it belongs to the history behind a snapshot that was taken over. */
  pending?: true
  /** It counts; else `reason` says why not. */
  valid: boolean
  reason: string | null
}

export interface HistoryObject {
  kind: (typeof SINGULAR)[Kind] | 'cluster' | 'actor'
  /** Of an actor, its address; it lives at the author. */
  id: string
  action: 'created' | 'updated' | 'deleted' | 'sent' | AuthEntry['operation']
  /** Per field: as the changes before it had left it here, and what it says. */
  fields: Record<string, { before: FieldValue | undefined; after: FieldValue | undefined }>
}

/**
 * Newest first. What was before a change is found by replaying what counts, in the order of this peer's log: a change
 * that was made at the same time as another shows it as before or after, as this peer has heard of them.
 */
export async function historyOf(cluster: Cluster, filter: HistoryFilter, clock: Clock): Promise<HistoryEntry[]> {
  const records = new Map<string, Map<string, FieldValue>>()
  const roles = new Map<PeerId, Role>([[cluster.genesis.founder, 'admin']])
  const found: Array<{ entry: Entry; objects: HistoryObject[] }> = []
  const entries = cluster.durable()
  const isWorthReading = worthReading(entries, filter)
  for (const [i, entry] of entries.entries()) {
    if (!isWorthReading(entry)) continue
    await breathe(i, clock)
    const objects = objectsOf(cluster, entry, records, roles)
    if (fits(entry, objects, records, filter)) found.push({ entry, objects })
  }
  found.sort((a, b) => newestFirst(a.entry, b.entry))
  const shown: HistoryEntry[] = []
  for (const [i, { entry, objects }] of found.slice(0, filter.limit ?? Infinity).entries()) {
    await breathe(i, clock)
    shown.push(told(cluster, entry, objects))
  }
  return shown
}

/** One entry of the auth log, or a change that says nothing of what was before. */
export const historyEntryOf = (cluster: Cluster, entry: Entry): HistoryEntry =>
  told(cluster, entry, objectsOf(cluster, entry, new Map(), new Map()))

/** An admission is made by itself when an invite is used: who asked for that has asked for it. */
const viaOfAuth = (entry: AuthEntry): string | null =>
  entry.via ?? (entry.operation === 'admit' ? entry.invite.via : null)

function told(cluster: Cluster, entry: Entry, objects: HistoryObject[]): HistoryEntry {
  const reason = cluster.fold.reasonAgainst(entry)
  return {
    id: entry.hash,
    author: entry.authorId,
    at: isoTime(entry.writtenAt),
    kind: entry.kind === 'change' || entry.kind === 'auth' ? entry.kind : 'other',
    via: entry.auth == null ? cluster.viaOf(entry) : viaOfAuth(entry.auth),
    objects,
    ...signatureOf(cluster, entry),
    valid: reason == null,
    reason
  }
}

function signatureOf(cluster: Cluster, entry: Entry): Pick<HistoryEntry, 'verified' | 'pending'> {
  if (!cluster.isHere(entry)) return { verified: false, pending: true }
  return { verified: verifyEnvelope(parseEnvelope(cluster.bytesOf(entry)), cluster.genesis.clusterId) }
}

const newestFirst = (a: Entry, b: Entry): number => b.writtenAt - a.writtenAt || b.index - a.index

/**
 * Reading what is in a change costs most. What is shown is known without it, unless one object is asked for, whose routes
 * are known by their contents alone; then only what has touched the same records before has to be read as well.
 */
function worthReading(entries: readonly Entry[], filter: HistoryFilter): (entry: Entry) => boolean {
  const { object, limit = Infinity } = filter
  if (object != null || limit >= entries.length) return () => true
  const shown = entries
    .filter((entry) => fits(entry, [], NO_RECORDS, filter))
    .sort(newestFirst)
    .slice(0, limit)
  const touched = new Set(shown.flatMap(({ touches }) => touches.map(({ kind, id }) => `${kind}/${id}`)))
  const isShown = new Set(shown.map(({ index }) => index))
  return (entry) =>
    entry.auth != null || isShown.has(entry.index) || entry.touches.some(({ kind, id }) => touched.has(`${kind}/${id}`))
}

const NO_RECORDS: ReadonlyMap<string, ReadonlyMap<string, FieldValue>> = new Map()

/** Reading and verifying a long history takes seconds, in which the agent has other things to do. */
async function breathe(i: number, clock: Clock): Promise<void> {
  if (i % historyBatchMax === historyBatchMax - 1) await clock.sleep(0)
}

function objectsOf(
  cluster: Cluster,
  entry: Entry,
  records: Map<string, Map<string, FieldValue>>,
  roles: Map<PeerId, Role>
): HistoryObject[] {
  if (entry.auth != null) return [authObject(cluster, entry, entry.auth, roles)]
  return entry.kind === 'change' ? replay(cluster, entry, records) : []
}

/** What a change does to the records as the changes before it have left them. */
function replay(cluster: Cluster, entry: Entry, records: Map<string, Map<string, FieldValue>>): HistoryObject[] {
  const note = cluster.noteOf(entry)
  if (note != null) return [noteObject(note)]
  return cluster.intentsOf(entry).map(({ kind, id, removed, fields }) => {
    const key = `${kind}/${id}`
    const held = records.get(key)
    const object: HistoryObject = {
      kind: SINGULAR[kind],
      id,
      action: removed ? 'deleted' : held == null ? 'created' : 'updated',
      fields: {}
    }
    if (removed) {
      for (const [field, before] of held ?? []) object.fields[field] = { before, after: undefined }
    }
    for (const [field, after] of fields) object.fields[field] = { before: held?.get(field), after }
    // Of no use to who reads, and the first thing to try if the secret were ever weak.
    if (kind === 'tokens') delete object.fields['hash']
    if (!entry.valid) return object
    if (removed) records.delete(key)
    else records.set(key, new Map([...(held ?? []), ...fields]))
    return object
  })
}

function noteObject({ actor, event: { type, ...rest }, by }: ActorNote): HistoryObject {
  const own = { event: type, by }
  // A field of the event that bears the name of one of ours does not stand for it.
  const said = [...Object.entries(own), ...Object.entries(rest).filter(([field]) => !Object.hasOwn(own, field))]
  const fields = said.map(([field, after]) => [field, { before: undefined, after: after as FieldValue }])
  return { kind: 'actor', id: actor, action: 'sent', fields: Object.fromEntries(fields) as HistoryObject['fields'] }
}

function authObject(cluster: Cluster, entry: Entry, auth: AuthEntry, roles: Map<PeerId, Role>): HistoryObject {
  if (auth.operation === 'epoch') return epochObject(cluster, auth)
  const fields: HistoryObject['fields'] = {}
  if (auth.operation === 'admit') fields['name'] = { before: undefined, after: auth.name }
  if ('role' in auth) {
    fields['role'] = { before: roles.get(auth.peer), after: auth.role }
    if (cluster.fold.reasonAgainst(entry) == null) roles.set(auth.peer, auth.role)
  } else if (auth.operation === 'leave') roles.delete(auth.peer)
  return { kind: 'peer', id: auth.peer, action: auth.operation, fields }
}

function epochObject({ genesis }: Cluster, epoch: Extract<AuthEntry, { operation: 'epoch' }>): HistoryObject {
  const said = { entries: epoch.entries, bytes: epoch.bytes, digest: epoch.digest }
  const fields = Object.fromEntries(
    Object.entries(said).map(([field, after]) => [field, { before: undefined, after }] as const)
  )
  return { kind: 'cluster', id: genesis.clusterId, action: 'epoch', fields }
}

function fits(
  entry: Entry,
  objects: HistoryObject[],
  records: ReadonlyMap<string, ReadonlyMap<string, FieldValue>>,
  { object, author, since, until }: HistoryFilter
): boolean {
  if (author != null && entry.authorId !== author) return false
  if (since != null && entry.writtenAt < since) return false
  if (until != null && entry.writtenAt > until) return false
  if (object == null) return true
  return objects.some(({ kind, id, fields }) => {
    if (id === object) return true
    if (kind === 'actor') return id.slice(id.indexOf(':') + 1) === object
    const service = fields['service_id']
    const of = service?.after ?? service?.before ?? records.get(`routes/${id}`)?.get('service_id')
    return kind === 'route' && of === object
  })
}
