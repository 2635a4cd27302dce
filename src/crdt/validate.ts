import {
  ArcticError,
  InvalidCidrError,
  InvalidRequestError,
  TransparentRequiresInterfaceError,
  TransparentTcpOnlyError
} from '../errors.ts'
import { nameLengthMax } from '../limits.ts'
import { refuseUnusable } from './device-address.ts'
import { formatCidr, mappedIpv4, parseAddress, parseCidr, parseInterfaceCidr, type Cidr } from './cidr.ts'
import { isUlid } from './ids.ts'
import { ROLES } from './invite.ts'
import {
  addressesMax,
  addressLengthMax,
  bandwidthLimitMbpsMax,
  inviteTtlMaxMs,
  inviteTtlMinMs,
  inviteUsesMax,
  priorityMax,
  routesPerRequestMax,
  versionLengthMax
} from './limits.ts'
import type { PeerRecord, Role, RouteInput, RouteRecord, ServiceInput, ServicePatch, ServiceRecord } from './schema.ts'
import { DEFAULT_PRIORITY } from './schema.ts'
import { publicKeyOf } from './signer.ts'

/**
 * What may stand in the replicated state. The same checks run before something is written and when what others wrote
 * is folded, so nothing gets into a view that could not have been written here. All pure; they throw ArcticError.
 */

const SERVICE_FIELDS = [
  'name',
  'transport_type',
  'requires_interface',
  'desired_ipv4_cidr',
  'desired_ipv6_cidr',
  'bandwidth_limit_mbps',
  'fully_transparent'
] as const
export const SERVICE_RECORD_FIELDS = [
  'id',
  'source_peer_id',
  'target_peer_id',
  ...SERVICE_FIELDS,
  'created_at',
  'updated_at'
] as const
const ROUTE_FIELDS = ['source_cidr', 'dest_cidr', 'priority'] as const

/** A whole record from what an operator gave, with the defaults. Whether the peers are members is not checked here. */
export function newService(input: ServiceInput, id: string, now: string): ServiceRecord {
  onlyFields('a service', input, ['source_peer_id', 'target_peer_id', ...SERVICE_FIELDS])
  const service = checkService({
    id,
    name: input.name ?? `service-${id.slice(-8).toLowerCase()}`,
    source_peer_id: input.source_peer_id,
    target_peer_id: input.target_peer_id,
    transport_type: input.transport_type ?? 'tcp',
    requires_interface: input.requires_interface ?? false,
    desired_ipv4_cidr: input.desired_ipv4_cidr ?? null,
    desired_ipv6_cidr: input.desired_ipv6_cidr ?? null,
    bandwidth_limit_mbps: input.bandwidth_limit_mbps ?? 0,
    fully_transparent: input.fully_transparent ?? false,
    created_at: now,
    updated_at: now
  })
  refuseUnusable(service)
  return service
}

export function patchService(record: ServiceRecord, patch: ServicePatch): ServiceRecord {
  for (const field of ['source_peer_id', 'target_peer_id'] as const) {
    if (Object.hasOwn(patch, field)) {
      throw new InvalidRequestError(`${field} of a service cannot be changed; create another service`, { field })
    }
  }
  onlyFields('a service update', patch, SERVICE_FIELDS)
  const service = checkService({ ...record, ...defined(patch) })
  refuseUnusable(service, Object.keys(patch))
  return service
}

/** Canonical form of a record, known fields only. */
export function checkService(record: ServiceRecord): ServiceRecord {
  const { id, source_peer_id, target_peer_id } = record
  if (!isUlid(id)) throw new InvalidRequestError('a service id must be a ULID', { id })
  checkPeerId('source_peer_id', source_peer_id)
  checkPeerId('target_peer_id', target_peer_id)
  if (source_peer_id === target_peer_id) {
    throw new InvalidRequestError('source and target are the same peer; a service leads from one peer to another', {
      source_peer_id,
      target_peer_id
    })
  }
  if (record.transport_type !== 'tcp' && record.transport_type !== 'kcp') {
    throw new InvalidRequestError('transport_type must be "tcp" or "kcp"', { field: 'transport_type' })
  }
  checkBoolean('requires_interface', record.requires_interface)
  checkBoolean('fully_transparent', record.fully_transparent)
  checkBandwidth(record.bandwidth_limit_mbps)
  if (record.fully_transparent && !record.requires_interface) throw new TransparentRequiresInterfaceError()
  if (record.fully_transparent && record.transport_type !== 'tcp') throw new TransparentTcpOnlyError()
  const desired_ipv4_cidr = interfaceCidr('desired_ipv4_cidr', record.desired_ipv4_cidr, 4)
  const desired_ipv6_cidr = interfaceCidr('desired_ipv6_cidr', record.desired_ipv6_cidr, 6)
  if ((desired_ipv4_cidr != null || desired_ipv6_cidr != null) && !record.requires_interface) {
    const field = desired_ipv4_cidr != null ? 'desired_ipv4_cidr' : 'desired_ipv6_cidr'
    throw new InvalidRequestError(
      `${field} is an address for the service's own interface; set requires_interface too, or drop it`,
      { field }
    )
  }
  return {
    id,
    name: checkName('service', record.name),
    source_peer_id,
    target_peer_id,
    transport_type: record.transport_type,
    requires_interface: record.requires_interface,
    desired_ipv4_cidr,
    desired_ipv6_cidr,
    bandwidth_limit_mbps: record.bandwidth_limit_mbps,
    fully_transparent: record.fully_transparent,
    created_at: checkTime('created_at', record.created_at),
    updated_at: checkTime('updated_at', record.updated_at)
  }
}

export function newRoute(input: RouteInput, id: string, service: ServiceRecord): RouteRecord {
  onlyFields('a route', input, ROUTE_FIELDS)
  const route = {
    id,
    service_id: service.id,
    source_cidr: input.source_cidr ?? null,
    dest_cidr: input.dest_cidr ?? null,
    priority: input.priority ?? DEFAULT_PRIORITY
  }
  return refuseMapped(checkRoute(route, service), input)
}

export function patchRoute(record: RouteRecord, patch: RouteInput, service: ServiceRecord): RouteRecord {
  onlyFields('a route update', patch, ROUTE_FIELDS)
  return refuseMapped(checkRoute({ ...record, ...defined(patch) }, service), patch)
}

/** No packet has such an address, so that the route would match nothing. Asked at the door only: a record that has one is harmless. */
function refuseMapped(route: RouteRecord, given: RouteInput): RouteRecord {
  for (const field of ['source_cidr', 'dest_cidr'] as const) {
    const value = route[field]
    const meant = value == null ? null : mappedIpv4(parseCidr(field, value))
    if (value == null || meant == null) continue
    throw new InvalidCidrError(
      field,
      given[field] ?? value,
      'is an IPv4 range written as IPv6, which no packet has',
      formatCidr(meant)
    )
  }
  return route
}

/** Canonical form of a record, known fields only. `service` is the one it belongs to. */
export function checkRoute(record: RouteRecord, service: ServiceRecord): RouteRecord {
  if (!isUlid(record.id)) throw new InvalidRequestError('a route id must be a ULID', { id: record.id })
  const source = routeCidr('source_cidr', record.source_cidr)
  const dest = routeCidr('dest_cidr', record.dest_cidr)
  if (source == null && dest == null && !service.requires_interface) {
    throw new InvalidRequestError(
      'a route needs source_cidr, dest_cidr or both, because its service has no interface of its own',
      { service_id: service.id }
    )
  }
  if (source != null && dest != null && source.family !== dest.family) {
    const why = `is IPv${dest.family} while source_cidr is IPv${source.family}`
    throw new InvalidCidrError('dest_cidr', record.dest_cidr ?? '', why)
  }
  const { priority } = record
  if (!Number.isInteger(priority) || priority < 0 || priority > priorityMax) {
    throw new InvalidRequestError(`priority must be a whole number from 0 to ${priorityMax}`, { field: 'priority' })
  }
  return {
    id: record.id,
    service_id: service.id,
    source_cidr: source == null ? null : formatCidr(source),
    dest_cidr: dest == null ? null : formatCidr(dest),
    priority
  }
}

/** What a peer says of itself: addresses and keys go to engines and rule sets, so nothing loose passes. */
export function checkPeer(record: PeerRecord): PeerRecord {
  onlyFields('a peer record', record, PEER_FIELDS)
  checkPeerId('id', record.id)
  const version = record.version
  if (typeof version !== 'string' || !/^[\x21-\x7e]+$/.test(version) || version.length > versionLengthMax) {
    throw new InvalidRequestError('version must be a short word', { field: 'version' })
  }
  return {
    id: record.id,
    name: checkName('peer', record.name),
    mesh_addresses: checkAddresses('mesh_addresses', record.mesh_addresses, isMultiaddr),
    data_addresses: checkAddresses('data_addresses', record.data_addresses, isHostPort),
    pegasus_key: checkKey('pegasus_key', record.pegasus_key),
    tempest_key: checkKey('tempest_key', record.tempest_key),
    ...(record.keys_made_at === undefined ? {} : { keys_made_at: checkMadeAt(record.keys_made_at) }),
    ...(record.keys_before === undefined ? {} : { keys_before: checkKeysBefore(record.keys_before) }),
    version
  }
}

function checkMadeAt(value: unknown): string | null {
  if (value == null) return null
  if (typeof value !== 'string' || value.length > 30 || Number.isNaN(Date.parse(value))) {
    throw new InvalidRequestError('keys_made_at must be a time in ISO 8601', { field: 'keys_made_at' })
  }
  return value
}

function checkKeysBefore(value: unknown): string[] | null {
  if (value == null) return null
  if (!Array.isArray(value) || value.length !== 2) {
    throw new InvalidRequestError('keys_before must be two keys', { field: 'keys_before' })
  }
  return value.map((key) => checkKey('keys_before', key))
}

export function checkRouteCount(inputs: RouteInput[]): void {
  if (inputs.length < 1 || inputs.length > routesPerRequestMax) {
    throw new InvalidRequestError(`routes must be a list of 1 to ${routesPerRequestMax} routes`, { field: 'routes' })
  }
}

export function checkInviteInput(input: { ttlMs: number; uses: number; role: Role; addresses: string[] }): void {
  const { ttlMs, uses, role, addresses } = input
  if (!Number.isFinite(ttlMs) || ttlMs < inviteTtlMinMs || ttlMs > inviteTtlMaxMs) {
    throw new InvalidRequestError('the time to live of an invite must be from one second to 90 days', { field: 'ttl' })
  }
  if (!Number.isInteger(uses) || uses < 1 || uses > inviteUsesMax) {
    throw new InvalidRequestError(`uses must be a whole number from 1 to ${inviteUsesMax}`, { field: 'uses' })
  }
  if (!ROLES.includes(role)) throw new InvalidRequestError('role must be "member" or "admin"', { field: 'role' })
  checkAddresses('addresses', addresses, isMultiaddr)
}

/** Returns `name`. One to 63 printable characters without a space at either end. */
export function checkName(kind: string, name: unknown): string {
  if (typeof name !== 'string' || name.length < 1 || name.length > nameLengthMax) {
    throw new InvalidRequestError(`a ${kind} name must have 1 to ${nameLengthMax} characters`, { field: 'name' })
  }
  if (!/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u.test(name) || name.trim() !== name) {
    throw new InvalidRequestError(`a ${kind} name must be printable and neither begin nor end with a space`, {
      field: 'name'
    })
  }
  // Wherever a peer is asked for, its id and its name both do; one must never look like the other.
  if (kind === 'peer' && name.startsWith('12D3Koo')) {
    throw new InvalidRequestError('a peer name must not look like a peer id', { field: 'name' })
  }
  return name
}

export function checkPeerId(field: string, value: unknown): string {
  if (typeof value !== 'string' || publicKeyOf(value) == null) {
    throw new InvalidRequestError(`${field} must be a peer id, which begins with 12D3Koo`, { field })
  }
  return value
}

/** The CIDR in a route's field; null stands for "any". */
function routeCidr(field: string, value: unknown): Cidr | null {
  if (value == null) return null
  if (typeof value !== 'string') throw new InvalidRequestError(`${field} must be a text or null`, { field })
  return parseCidr(field, value)
}

function interfaceCidr(field: string, value: unknown, family: 4 | 6): string | null {
  if (value == null) return null
  if (typeof value !== 'string') throw new InvalidRequestError(`${field} must be a text or null`, { field })
  const cidr = parseInterfaceCidr(field, value)
  if (cidr.family !== family) {
    throw new InvalidCidrError(field, value, `is an IPv${cidr.family} address in an IPv${family} field`)
  }
  return formatCidr(cidr)
}

function checkBoolean(field: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new InvalidRequestError(`${field} must be true or false`, { field })
}

function checkBandwidth(value: unknown): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0 || value > bandwidthLimitMbpsMax) {
    throw new InvalidRequestError(
      `bandwidth_limit_mbps must be a number from 0 (no limit) to ${bandwidthLimitMbpsMax}`,
      { field: 'bandwidth_limit_mbps' }
    )
  }
}

export function checkTime(field: string, value: unknown): string {
  if (
    typeof value !== 'string' ||
    !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) ||
    Number.isNaN(Date.parse(value))
  ) {
    throw new InvalidRequestError(`${field} must be an ISO 8601 time in UTC with milliseconds`, { field })
  }
  return value
}

function checkAddresses(field: string, value: unknown, good: (text: string) => boolean): string[] {
  if (!Array.isArray(value) || value.length > addressesMax) {
    throw new InvalidRequestError(`${field} must be a list of at most ${addressesMax} addresses`, { field })
  }
  for (const address of value as unknown[]) {
    if (typeof address !== 'string' || address.length > addressLengthMax || !good(address)) {
      throw new InvalidRequestError(`${field} holds "${String(address).slice(0, 80)}", which is no such address`, {
        field
      })
    }
  }
  return [...(value as string[])]
}

export const isMultiaddr = (text: string): boolean => /^(\/[\x21-\x2e\x30-\x7e]+)+$/.test(text)

/** `1.2.3.4:7947` or `[fd00::1]:7947`. */
function isHostPort(text: string): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([1-9]\d{0,4})$/.exec(text)
  if (match == null || Number(match[3]) > 65_535) return false
  return parseAddress(match[1] ?? '')?.length === 16 || parseAddress(match[2] ?? '')?.length === 4
}

function checkKey(field: string, value: unknown): string {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(value)) {
    throw new InvalidRequestError(`${field} must be 32 bytes in base64`, { field })
  }
  return value
}

export const PEER_FIELDS = [
  'id',
  'name',
  'mesh_addresses',
  'data_addresses',
  'pegasus_key',
  'tempest_key',
  'keys_made_at',
  'keys_before',
  'version'
] as const

function onlyFields(what: string, input: object, known: readonly string[]): void {
  const unknown = Object.keys(input).filter((field) => !known.includes(field))
  if (unknown.length > 0) {
    throw new InvalidRequestError(`${what} has no field ${unknown.map((field) => `"${field}"`).join(', ')}`, {
      fields: unknown
    })
  }
}

const defined = <T extends object>(patch: T): Partial<T> =>
  Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as Partial<T>

/** A checked record or the reason why it is none; anything but an ArcticError is a bug and goes on. */
export function attempt<T>(check: () => T): { record: T } | { reason: string } {
  try {
    return { record: check() }
  } catch (error) {
    if (error instanceof ArcticError) return { reason: error.message }
    // A check that fails itself must cost this one record and no more.
    return { reason: `this agent fails on it: ${String(error)}` }
  }
}
