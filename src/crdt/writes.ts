import { isoTime, type Clock } from '../clock.ts'
import {
  NameTakenError,
  PeerNotFoundError,
  RouteNotFoundError,
  ServiceNotFoundError,
  TokenNotFoundError
} from '../errors.ts'
import type { Random } from '../random.ts'
import type { Cluster } from './cluster.ts'
import { equalRecords } from './diff.ts'
import { checkDeviceAddress } from './device-address.ts'
import type { FieldValue } from './document.ts'
import { findChange } from './find-change.ts'
import type { HistoryObject } from './history.ts'
import { newId, newServiceId } from './ids.ts'
import { checkNewService } from './new-service.ts'
import { checkNameIsFree } from './peer-name.ts'
import { checkPolicy, POLICY_ID } from './policy.ts'
import { inverseOf } from './inverse.ts'
import type { Undone } from './state.ts'
import type {
  PeerId,
  PeerRecord,
  Policy,
  RouteId,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServiceId,
  ServiceInput,
  ServicePatch,
  ServiceRecord,
  TokenId,
  TokenRecord
} from './schema.ts'
import { formatToken, newToken, type TokenInput } from './token.ts'
import { checkRouteCount, newRoute, newService, patchRoute, patchService } from './validate.ts'
import type { View } from './view.ts'

/**
 * The writes that an operator asks for, each one change. All are checked against what will be durable if everything
 * that is being written succeeds, and from the check to the change nothing waits. What is as it is asked for already may still
 * be on its way to the disk, for another call. Errors as in {@link ReplicatedState}.
 */

interface Sources {
  clock: Clock
  random: Random
}

/** `record` has been checked. */
export async function writePeer(cluster: Cluster, record: PeerRecord): Promise<PeerRecord> {
  const { id, ...fields } = record
  const held = cluster.fold.view.members.get(id)?.record
  if (held != null && equalRecords(held, record)) return await durably(cluster, held)
  if (held?.name !== record.name) checkNameIsFree(cluster.fold.view, record.name, id)
  await cluster.change((writer) => writer.put('peers', id, changedFields(held, fields)))
  return record
}

/** `name` has been checked. PeerNotFoundError, NameTakenError. */
export async function renamePeer(cluster: Cluster, id: PeerId, name: string): Promise<PeerRecord> {
  const { view } = cluster.fold
  const held = view.members.get(id)?.record
  if (held == null) throw new PeerNotFoundError(id, 'it is not a member, or has not said anything of itself yet')
  if (held.name === name) return await durably(cluster, held)
  checkNameIsFree(view, name, id)
  await cluster.change((writer) => writer.put('peers', id, { name }))
  return { ...held, name }
}

export async function createService(
  cluster: Cluster,
  { clock, random }: Sources,
  input: ServiceInput
): Promise<ServiceRecord> {
  const { fold } = cluster
  const id = newServiceId(clock, random, (prefix) => fold.hasServiceLike(prefix))
  const service = newService(input, id, isoTime(clock.now()))
  checkNewService(fold.view, service)
  checkDeviceAddress(fold.view, service)
  const { id: _, ...fields } = service
  await cluster.change((writer) => writer.put('services', id, fields))
  return service
}

export async function updateService(
  cluster: Cluster,
  { clock }: Pick<Sources, 'clock'>,
  id: ServiceId,
  patch: ServicePatch
): Promise<ServiceRecord> {
  const { view } = cluster.fold
  // Two edits, each right by itself, may together be wrong: then a third one must be able to mend them.
  const held = view.services.get(id) ?? cluster.fold.mergedService(id)
  if (held == null) throw new ServiceNotFoundError(id)
  const patched = patchService(held, patch)
  if (equalRecords(held, patched)) return await durably(cluster, held)
  const isMoved = (['desired_ipv4_cidr', 'desired_ipv6_cidr'] as const).some((field) => patched[field] !== held[field])
  if (isMoved) checkDeviceAddress(view, patched)
  const service = { ...patched, updated_at: isoTime(clock.now()) }
  // A route may stand on what the service is about to lose; it would silently fall out of the view.
  for (const route of view.routesOf.get(id) ?? []) patchRoute(route, {}, service)
  await cluster.change((writer) => writer.put('services', id, changedFields(held, service)))
  return service
}

export async function deleteService(cluster: Cluster, id: ServiceId): Promise<void> {
  const { fold } = cluster
  if (fold.mergedService(id) == null) throw new ServiceNotFoundError(id)
  await cluster.change((writer) => {
    for (const route of fold.routesOf(id)) writer.remove('routes', route)
    writer.remove('services', id)
  })
}

export async function addRoutes(
  cluster: Cluster,
  { clock, random }: Sources,
  serviceId: ServiceId,
  inputs: RouteInput[]
): Promise<RouteRecord[]> {
  const service = serviceOf(cluster.fold.view, serviceId)
  checkRouteCount(inputs)
  const routes = inputs.map((input) => newRoute(input, newId(clock, random), service))
  await cluster.change((writer) => {
    for (const { id, ...fields } of routes) writer.put('routes', id, fields)
  })
  return routes
}

export async function updateRoute(
  cluster: Cluster,
  serviceId: ServiceId,
  id: RouteId,
  patch: RoutePatch
): Promise<RouteRecord> {
  const { view } = cluster.fold
  const service = serviceOf(view, serviceId)
  const held = routeOf(view, serviceId, id)
  const route = patchRoute(held, patch, service)
  if (equalRecords(held, route)) return await durably(cluster, held)
  await cluster.change((writer) => writer.put('routes', id, changedFields(held, route)))
  return route
}

export async function deleteRoute(cluster: Cluster, serviceId: ServiceId, id: RouteId): Promise<void> {
  const { view } = cluster.fold
  serviceOf(view, serviceId)
  routeOf(view, serviceId, id)
  await cluster.change((writer) => writer.remove('routes', id))
}

/** The text is the only place where the secret ever stands. */
export async function createToken(
  cluster: Cluster,
  { clock, random }: Sources,
  input: TokenInput
): Promise<{ record: TokenRecord; text: string }> {
  const secret = random.bytes(32)
  const record = newToken(input, newId(clock, random), secret, clock.now())
  for (const { name } of cluster.fold.view.tokens.values()) {
    if (name === record.name) throw new NameTakenError('token', name)
  }
  const { id, ...fields } = record
  await cluster.change((writer) => writer.put('tokens', id, fields))
  return { record, text: formatToken(id, secret) }
}

export async function revokeToken(cluster: Cluster, id: TokenId): Promise<void> {
  if (!cluster.fold.has('tokens', id)) throw new TokenNotFoundError(id)
  await cluster.change((writer) => writer.remove('tokens', id))
}

export async function setPolicy(cluster: Cluster, patch: Partial<Policy>): Promise<Policy> {
  const held = cluster.fold.view.policy
  const policy = checkPolicy({ ...held, ...patch })
  if (equalRecords(held, policy)) return await durably(cluster, policy)
  await cluster.change((writer) => writer.put('policies', POLICY_ID, { ...policy }))
  return policy
}

/** Writes the inverse of a change, unless `agree` throws at what it would do. ConflictError; InvalidRequestError for what is not to be undone; `not_found`. */
export async function undo(
  cluster: Cluster,
  { clock }: Pick<Sources, 'clock'>,
  change: string,
  agree: (objects: readonly HistoryObject[]) => void
): Promise<Undone> {
  const undone = findChange(cluster, change)
  const { puts, removals, objects } = inverseOf(cluster, undone, clock.now())
  agree(objects)
  const entry = await cluster.change((writer) => {
    for (const { kind, id } of removals) writer.remove(kind, id)
    for (const { kind, id, fields } of puts) writer.put(kind, id, fields)
  })
  if (entry == null) throw new Error('the inverse of a change wrote nothing')
  const { hash: id, authorId: author, writtenAt } = entry
  const via = cluster.viaOf(entry)
  const told = { id, author, at: isoTime(writtenAt), kind: 'change', via, objects, verified: true } as const
  return { undone: undone.hash, change: { ...told, valid: true, reason: null } }
}

function serviceOf(view: View, id: ServiceId): ServiceRecord {
  const service = view.services.get(id)
  if (service == null) throw new ServiceNotFoundError(id)
  return service
}

function routeOf(view: View, serviceId: ServiceId, id: RouteId): RouteRecord {
  const route = view.routes.get(id)
  if (route?.service_id !== serviceId) throw new RouteNotFoundError(id, serviceId)
  return route
}

async function durably<T>(cluster: Cluster, held: T): Promise<T> {
  await cluster.stored()
  return held
}

/** The fields that differ: two peers that change different fields of a record shall both win. */
function changedFields(held: object | null | undefined, next: object): Record<string, FieldValue> {
  const before = new Map(Object.entries(held ?? {}))
  const changed = Object.entries(next).filter(
    ([field, value]) => held == null || JSON.stringify(value) !== JSON.stringify(before.get(field))
  )
  return Object.fromEntries(changed) as Record<string, FieldValue>
}
