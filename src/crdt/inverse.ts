import { isoTime } from '../clock.ts'
import { ArcticError, ConflictError, InvalidRequestError, PeerNotFoundError } from '../errors.ts'
import type { Cluster } from './cluster.ts'
import { equalRecords } from './diff.ts'
import { SINGULAR, type FieldValue, type Kind } from './document.ts'
import type { HistoryObject } from './history.ts'
import type { Intent } from './intent.ts'
import type { Entry } from './entries.ts'
import { undoRecordsMax } from './limits.ts'
import { checkNewService } from './new-service.ts'
import { checkNameIsFree } from './peer-name.ts'
import { DEFAULT_POLICY, POLICY_ID } from './policy.ts'
import { pickService } from './records.ts'
import type { RouteRecord, ServiceRecord } from './schema.ts'
import { checkRoute, checkService } from './validate.ts'
import type { View } from './view.ts'

/** What to write so that a change is as if it had never been. */
export interface Inverse {
  puts: Array<{ kind: Kind; id: string; fields: Record<string, FieldValue> }>
  removals: Array<{ kind: Kind; id: string }>
  /** The same as the history will tell it. */
  objects: HistoryObject[]
}

type Fields = Map<string, FieldValue>

/**
 * The inverse of one change of services and routes, of the policy, or of a peer's name, as a change of its own:
 *
 * 1. what it made is removed, what it removed is made again with the same id, the fields that it set are set back;
 * 2. only while all of it stands as the change has left it: ConflictError (409) names what was changed since, and by whom;
 * 3. what comes out must be something that could have been written: the same checks as for any write.
 *
 * What was before is found by replaying what counts in the order of this peer's log. `now` goes into `updated_at`.
 */
export function inverseOf(cluster: Cluster, entry: Entry, now: number): Inverse {
  refuse(cluster, entry)
  // What is said of a service is said before what is said of its routes.
  const intents = cluster.intentsOf(entry).toSorted((a, b) => rank(a) - rank(b))
  const before = recordsBefore(cluster, entry)
  const inverse: Inverse = { puts: [], removals: [], objects: [] }
  for (const intent of intents) {
    const held = before.get(keyOf(intent)) ?? defaultOf(intent)
    if (intent.removed && !intent.made) restore(cluster, entry, intent, held, inverse)
    else if (held == null) remove(cluster, entry, intent, intents, inverse)
    else setBack(cluster, entry, intent, held, inverse, now)
  }
  const size = inverse.puts.length + inverse.removals.length
  if (size === 0) throw new ConflictError(409, `change ${short(entry)} left nothing behind that could be undone`)
  if (size > undoRecordsMax) {
    throw new InvalidRequestError(
      `change ${short(entry)} is about ${size} records, and one undo writes at most ${undoRecordsMax}; bring back the state before it with "arctic services list --at" and "arctic apply"`,
      { change: entry.hash, records: size }
    )
  }
  checkOutcome(cluster, entry, inverse)
  return inverse
}

function refuse(cluster: Cluster, entry: Entry): void {
  if (entry.auth != null) {
    const { operation, peer } = entry.auth
    throw new InvalidRequestError(
      operation === 'epoch'
        ? `change ${short(entry)} is an epoch: it says what the history has come to, and changes nothing that could be set back`
        : `change ${short(entry)} is the ${operation} of peer ${peer}; who belongs to the cluster is not undone, but changed: see "arctic peers --help" and "arctic cluster invite"`,
      { change: entry.hash, operation, peer }
    )
  }
  const reason = cluster.fold.reasonAgainst(entry)
  if (reason != null) {
    throw new ConflictError(409, `change ${short(entry)} does not count (${reason}), so there is nothing to undo`, {
      change: entry.hash
    })
  }
  if (entry.operationCount === 0) {
    throw new InvalidRequestError(
      `change ${short(entry)} tells of an event that was sent to an actor, and changed nothing that could be set back`,
      { change: entry.hash }
    )
  }
  const other = cluster.intentsOf(entry).find((intent) => !isUndone(intent))
  if (other != null) {
    const kind = SINGULAR[other.kind]
    throw new InvalidRequestError(
      `change ${short(entry)} is about ${kind} ${other.id}; services, routes, the policy and names of peers are undone, so change it by hand`,
      { change: entry.hash, kind, id: other.id }
    )
  }
}

/** What a peer says of itself is its own to say, but for its name; a token that was revoked stays so. */
function isUndone({ kind, removed, made, fields }: Intent): boolean {
  if (kind === 'peers') return !removed && !made && [...fields.keys()].join() === 'name'
  return kind !== 'tokens'
}

/** What is in force while nobody has written it. */
const defaultOf = ({ kind, id }: Intent): Fields | undefined =>
  kind === 'policies' && id === POLICY_ID ? new Map(Object.entries(DEFAULT_POLICY)) : undefined

/** The records that a change touches as the changes before it have left them. */
function recordsBefore(cluster: Cluster, entry: Entry): Map<string, Fields> {
  const touched = new Set(entry.touches.map(keyOf))
  const records = new Map<string, Fields>()
  for (const earlier of cluster.ledger.entries.slice(0, entry.index)) {
    if (!earlier.valid || !earlier.touches.some((touch) => touched.has(keyOf(touch)))) continue
    for (const intent of cluster.intentsOf(earlier)) {
      const key = keyOf(intent)
      if (!touched.has(key)) continue
      if (intent.removed && !intent.made) records.delete(key)
      else records.set(key, new Map([...(records.get(key) ?? []), ...intent.fields]))
    }
  }
  return records
}

/** It was deleted: it comes back with the same id. */
function restore(
  cluster: Cluster,
  entry: Entry,
  { kind, id }: Intent,
  held: Fields | undefined,
  inverse: Inverse
): void {
  // Somebody else had deleted it at the same time, or it never was.
  if (held == null) return
  if (cluster.fold.has(kind, id)) throw conflict(cluster, entry, { kind, id }, 'is there again')
  inverse.puts.push({ kind, id, fields: Object.fromEntries(held) })
  const fields = [...held].map(([field, after]) => [field, { before: undefined, after }] as const)
  inverse.objects.push({ kind: SINGULAR[kind], id, action: 'created', fields: Object.fromEntries(fields) })
}

/** It was made: it goes, with its routes, if nobody else has a part in it by now. */
function remove(cluster: Cluster, entry: Entry, { kind, id, fields }: Intent, all: Intent[], inverse: Inverse): void {
  const { fold } = cluster
  const current = fold.record(kind, id)
  if (current == null) throw conflict(cluster, entry, { kind, id }, 'is deleted')
  for (const [field, value] of fields) {
    if (field === 'updated_at' || same(current[field], value)) continue
    throw changed(cluster, entry, { kind, id }, field, current[field])
  }
  const made = new Set(all.map((intent) => keyOf(intent)))
  const foreign = kind === 'services' ? fold.routesOf(id).find((route) => !made.has(`routes/${route}`)) : undefined
  if (foreign != null) throw conflict(cluster, entry, { kind: 'routes', id: foreign }, `was added to service ${id}`)
  inverse.removals.push({ kind, id })
  const gone = Object.entries(current).map(([field, before]) => [field, { before, after: undefined }] as const)
  inverse.objects.push({ kind: SINGULAR[kind], id, action: 'deleted', fields: Object.fromEntries(gone) })
}

/** Fields of it were set: they are set back; others may have changed since. */
function setBack(cluster: Cluster, entry: Entry, intent: Intent, held: Fields, inverse: Inverse, now: number): void {
  const { kind, id } = intent
  const current = cluster.fold.record(kind, id)
  if (current == null) throw conflict(cluster, entry, { kind, id }, 'is deleted')
  const fields: Record<string, FieldValue> = {}
  for (const [field, value] of intent.fields) {
    const was = held.get(field)
    if (field === 'updated_at' || same(was, value)) continue
    if (!same(current[field], value)) throw changed(cluster, entry, { kind, id }, field, current[field])
    if (was === undefined) {
      throw new ConflictError(409, `${field} of ${SINGULAR[kind]} ${id} was never anything else; change it by hand`)
    }
    fields[field] = was
  }
  if (Object.keys(fields).length === 0) return
  if (kind === 'services') fields['updated_at'] = isoTime(now)
  inverse.puts.push({ kind, id, fields })
  const told = Object.entries(fields).map(([field, after]) => [field, { before: current[field], after }] as const)
  inverse.objects.push({ kind: SINGULAR[kind], id, action: 'updated', fields: Object.fromEntries(told) })
}

/** What comes out must pass what every write must. */
function checkOutcome(cluster: Cluster, entry: Entry, { puts, removals }: Inverse): void {
  const { fold } = cluster
  const removed = new Set(removals.map(keyOf))
  const put = new Map(puts.map((one) => [keyOf(one), one.fields]))
  const serviceOf = (id: string): ServiceRecord | null => {
    const fields = put.get(`services/${id}`)
    const current = fold.record('services', id)
    return current == null && fields == null ? null : pickService({ ...current, ...fields }, id)
  }
  const services = new Set(puts.flatMap(({ kind, id }) => (kind === 'services' ? [id] : [])))
  const routes = new Map<string, RouteRecord>()
  for (const { kind, id, fields } of puts) {
    if (kind !== 'routes') continue
    const route = { ...fold.record('routes', id), ...fields, id } as unknown as RouteRecord
    if (serviceOf(route.service_id) == null) {
      throw conflict(cluster, entry, { kind: 'services', id: route.service_id }, 'is deleted')
    }
    routes.set(id, route)
  }
  for (const id of services) {
    for (const route of fold.routesOf(id)) {
      const record = fold.record('routes', route)
      if (record == null || routes.has(route) || removed.has(`routes/${route}`)) continue
      routes.set(route, { ...record, id: route } as unknown as RouteRecord)
    }
  }
  try {
    for (const { kind, id, fields } of puts) if (kind === 'peers') checkNamed(fold.view, id, fields['name'])
    for (const id of services) {
      const service = serviceOf(id)
      if (service == null) continue
      checkService(service)
      if (!fold.has('services', id)) checkNewService(fold.view, service)
    }
    for (const route of routes.values()) {
      const service = serviceOf(route.service_id)
      if (service != null) checkRoute(route, service)
    }
  } catch (error) {
    if (!(error instanceof ArcticError)) throw error
    throw new ConflictError(409, `change ${short(entry)} cannot be undone as things are: ${error.message}`, {
      change: entry.hash,
      ...error.details
    })
  }
}

function checkNamed(view: View, peer: string, name: FieldValue | undefined): void {
  if (!view.members.has(peer)) throw new PeerNotFoundError(peer, 'it is not a member any more')
  checkNameIsFree(view, String(name), peer)
}

interface Place {
  kind: Kind
  id: string
}

function changed(
  cluster: Cluster,
  entry: Entry,
  place: Place,
  field: string,
  value: FieldValue | undefined
): ConflictError {
  return conflict(cluster, entry, place, `has ${field} ${value === undefined ? 'unset' : JSON.stringify(value)}`, field)
}

/** Names the change that stands in the way: the last other one of that record, or of that field of it. */
function conflict(cluster: Cluster, entry: Entry, { kind, id }: Place, what: string, field?: string): ConflictError {
  const by = cluster.ledger.entries.findLast(
    (other) =>
      other.index !== entry.index &&
      other.valid &&
      other.touches.some((touch) => touch.kind === kind && touch.id === id) &&
      (field == null ||
        cluster.intentsOf(other).some((one) => one.kind === kind && one.id === id && one.fields.has(field)))
  )
  const object = `${SINGULAR[kind]} ${id}`
  const who = by == null ? '' : (cluster.fold.view.members.get(by.authorId)?.name ?? by.authorId)
  const blame = by == null ? '' : ` by change ${short(by)} of ${who} at ${isoTime(by.writtenAt)}`
  return new ConflictError(
    409,
    `change ${short(entry)} cannot be undone any more: ${object} ${what} since${blame}; undo that one first, or change it by hand`,
    {
      change: entry.hash,
      kind: SINGULAR[kind],
      id,
      ...(field == null ? {} : { field }),
      ...(by == null ? {} : { later_change: by.hash, author: by.authorId, at: isoTime(by.writtenAt) })
    }
  )
}

const rank = ({ kind }: Place): number => (kind === 'services' ? 0 : 1)
const keyOf = ({ kind, id }: Place): string => `${kind}/${id}`
const short = ({ hash }: Entry): string => hash.slice(0, 12)
const same = (a: FieldValue | undefined, b: FieldValue | undefined): boolean => equalRecords([a], [b])
