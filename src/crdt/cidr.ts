import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { InvalidCidrError } from '../errors.ts'

/** An address range, or an interface's address with its prefix: then `bytes` holds the host bits too. */
export interface Cidr {
  family: 4 | 6
  /** 4 or 16 bytes. */
  bytes: Uint8Array
  prefix: number
}

/** Reads `ADDRESS/PREFIX` without host bits. InvalidCidrError names `field` and what was probably meant. */
export function parseCidr(field: string, value: string): Cidr {
  const cidr = parseInterfaceCidr(field, value)
  const network = networkOf(cidr)
  if (Buffer.compare(network.bytes, cidr.bytes) !== 0) {
    throw new InvalidCidrError(field, value, `has bits set beyond its prefix /${cidr.prefix}`, formatCidr(network))
  }
  return cidr
}

/** Reads `ADDRESS/PREFIX` where the address is one in the network, as an interface has it. InvalidCidrError. */
export function parseInterfaceCidr(field: string, value: string): Cidr {
  const [address = '', prefixText, more] = value.split('/')
  const bytes = parseAddress(address)
  if (bytes == null) throw new InvalidCidrError(field, value, 'is not an address and a prefix')
  const family = bytes.length === 4 ? 4 : 6
  const longest = bytes.length * 8
  if (prefixText == null) {
    throw new InvalidCidrError(
      field,
      value,
      'has no prefix',
      formatCidr({ family, bytes, prefix: likelyPrefix(bytes) })
    )
  }
  if (more != null || !/^(0|[1-9]\d*)$/.test(prefixText)) {
    throw new InvalidCidrError(field, value, `has a prefix that is not a number from 0 to ${longest}`)
  }
  const prefix = Number(prefixText)
  if (prefix > longest) {
    throw new InvalidCidrError(field, value, `has a prefix longer than the ${longest} bits of an IPv${family} address`)
  }
  return { family, bytes, prefix }
}

/** The address as 4 or 16 bytes; null for all that is not one in full (no zones, no leading zeros, no short forms). */
export function parseAddress(text: string): Uint8Array | null {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number)
  const groups = ipv6Groups(text)
  return groups == null ? null : Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
}

/** RFC 4291, 2.2. The regular expression of `net.isIPv6` takes V8 9 ms to compile, a fifth of a bare Node's start. */
function ipv6Groups(text: string): number[] | null {
  // Its last 32 bits may be written as an IPv4 address.
  const tail = text.slice(text.lastIndexOf(':') + 1)
  if (tail.includes('.')) {
    const [a, b, c, d] = isIPv4(tail) ? tail.split('.').map(Number) : []
    if (a == null || b == null || c == null || d == null) return null
    const low = [(a << 8) | b, (c << 8) | d].map((group) => group.toString(16)).join(':')
    return ipv6Groups(`${text.slice(0, -tail.length)}${low}`)
  }
  const [head = '', zeros, more] = text.split('::')
  if (more != null) return null
  const before = groupsOf(head)
  const after = groupsOf(zeros ?? '')
  if (before == null || after == null) return null
  const missing = 8 - before.length - after.length
  // Zeros that are left out are one group at least; where none are, there is nothing to add.
  if (zeros == null ? missing !== 0 : missing < 1) return null
  return [...before, ...Array.from({ length: missing }, () => 0), ...after]
}

function groupsOf(text: string): number[] | null {
  if (text === '') return []
  const groups = text.split(':')
  return groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group)) ? groups.map((group) => parseInt(group, 16)) : null
}

/** Canonical text: dotted decimal, or RFC 5952. */
export function formatAddress(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join('.') : new ipaddr.IPv6([...bytes]).toRFC5952String()
}

export const formatCidr = ({ bytes, prefix }: Cidr): string => `${formatAddress(bytes)}/${prefix}`

/** The IPv4 range that a range of `::ffff:0:0/96` (RFC 4291, IPv4-mapped addresses) stands for; null for all others. */
export function mappedIpv4({ bytes, prefix }: Cidr): Cidr | null {
  const mapped =
    bytes.length === 16 && prefix >= 96 && bytes.every((byte, i) => i >= 12 || byte === (i < 10 ? 0 : 0xff))
  return mapped ? { family: 4, bytes: bytes.slice(12), prefix: prefix - 96 } : null
}

/** The same range without host bits. */
export function networkOf({ family, bytes, prefix }: Cidr): Cidr {
  return { family, bytes: bytes.map((byte, i) => byte & byteMask(prefix - i * 8)), prefix }
}

/** True when `address` lies in the range; false for the other family. */
export function contains({ bytes, prefix }: Cidr, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false
  return bytes.every((byte, i) => ((byte ^ (address[i] as number)) & byteMask(prefix - i * 8)) === 0)
}

export function addressToBigInt(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

export function bigIntToAddress(value: bigint, family: 4 | 6): Uint8Array {
  const bytes = new Uint8Array(family === 4 ? 4 : 16)
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(value & 0xffn)
    value >>= 8n
  }
  return bytes
}

const byteMask = (bits: number): number => (bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff)

/** For an address without a prefix: where its zeros begin, by bytes (v4) or groups (v6); a host when it has none. */
function likelyPrefix(bytes: Uint8Array): number {
  const step = bytes.length === 4 ? 1 : 2
  let end = bytes.length
  while (end > 0 && bytes.subarray(end - step, end).every((byte) => byte === 0)) end -= step
  return end * 8
}
