import { InterfaceConflictError, InvalidCidrError } from '../errors.ts'
import { addressToBigInt, formatCidr, mappedIpv4, parseInterfaceCidr, type Cidr } from './cidr.ts'
import type { ServiceRecord } from './schema.ts'
import type { View } from './view.ts'

/** Addresses that a service's device is asked to have. Both are asked at the door only: what is in a record stays a record. */

type Addressed = Pick<ServiceRecord, 'desired_ipv4_cidr' | 'desired_ipv6_cidr'>

const FIELDS = ['desired_ipv4_cidr', 'desired_ipv6_cidr'] as const

/** InvalidCidrError for an address that no interface can have, or that would take the host's traffic from it. */
export function refuseUnusable(service: Addressed, fields: readonly string[] = FIELDS): void {
  for (const field of FIELDS) {
    const value = service[field]
    if (value == null || !fields.includes(field)) continue
    const [why, meant] = unusable(parseInterfaceCidr(field, value)) ?? []
    if (why != null) throw new InvalidCidrError(field, value, why, meant)
  }
}

/**
 * InterfaceConflictError when the address is another service's on the same peer, or one by which a member is reached: with it
 * on a device, the peer would take that member's address, or its own, away from itself.
 */
export function checkDeviceAddress(view: View, service: ServiceRecord): void {
  const wanted = addressesOf(service)
  if (wanted.length === 0) return
  for (const other of view.services.values()) {
    if (other.id === service.id || other.source_peer_id !== service.source_peer_id) continue
    const taken = addressesOf(other).find((address) => wanted.includes(address))
    if (taken != null) throw new InterfaceConflictError(taken, `the service "${other.name}" (${other.id}) has it`)
  }
  for (const { name, record } of view.members.values()) {
    const hosts = [
      ...(record?.mesh_addresses ?? []).map((address) => address.split('/')[2]),
      ...(record?.data_addresses ?? []).map((address) => address.replace(/:\d+$/, '').replaceAll(/[[\]]/g, ''))
    ]
    const taken = wanted.find((address) => hosts.includes(address))
    if (taken != null) throw new InterfaceConflictError(taken, `the peer "${name}" is reached by it`)
  }
}

const addressesOf = (service: Addressed): string[] => FIELDS.flatMap((field) => service[field]?.split('/', 1) ?? [])

function unusable(cidr: Cidr): [why: string, meant?: string] | null {
  const { family, bytes, prefix } = cidr
  const [first = 0, second = 0] = bytes
  if (family === 6) {
    const value = addressToBigInt(bytes)
    if (value <= 1n || mappedIpv4({ ...cidr, prefix: 128 }) != null) return ['is no address that an interface can have']
    if (first === 0xff) return ['is multicast, which no interface has as its own']
    return first === 0xfe && (second & 0xc0) === 0x80 ? ['is link-local, which every device has by itself'] : null
  }
  if (first === 0 || first === 127 || first >= 240) return ['is no address that an interface can have']
  if (first >= 224) return ['is multicast, which no interface has as its own']
  if (prefix >= 31) return null
  const host = addressToBigInt(bytes) & ((1n << BigInt(32 - prefix)) - 1n)
  if (host === 0n) return ['is the network and no address in it', formatCidr({ ...cidr, bytes: next(bytes) })]
  return host === (1n << BigInt(32 - prefix)) - 1n ? ['is the broadcast address of its network'] : null
}

const next = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === bytes.length - 1 ? byte + 1 : byte))
