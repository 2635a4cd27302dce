import { createHash } from 'node:crypto'
import type { ServiceRecord } from '../../crdt/schema.ts'
import { ConflictError } from '../../errors.ts'

/**
 * A service's entity tag (RFC 9110 §8.8.3), with its quotes: a digest of what was asked for, so that traffic and
 * conditions, which change all the time, do not change it. Every peer makes the same one of the same record. Hex, since a
 * tag that begins with a dash would be taken for a flag where somebody types it.
 */
export function serviceTag(service: ServiceRecord): string {
  const fields = FIELDS.map((field) => service[field])
  return `"${createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 32)}"`
}

const FIELDS = [
  'id',
  'name',
  'source_peer_id',
  'target_peer_id',
  'transport_type',
  'requires_interface',
  'desired_ipv4_cidr',
  'desired_ipv6_cidr',
  'bandwidth_limit_mbps',
  'fully_transparent',
  'created_at',
  'updated_at'
] as const satisfies ReadonlyArray<keyof ServiceRecord>

/** ConflictError (412) unless `ifMatch` is missing or names the service as it is now. */
export function checkServiceTag(service: ServiceRecord, ifMatch: readonly string[] | undefined): void {
  if (ifMatch == null) return
  const etag = serviceTag(service)
  if (ifMatch.includes(etag)) return
  throw new ConflictError(
    412,
    `service "${service.name}" has changed since it was read (at ${service.updated_at}); read it again and decide anew`,
    { service_id: service.id, etag, updated_at: service.updated_at }
  )
}
