import {
  addressToBigInt,
  bigIntToAddress,
  formatAddress as formatBytes,
  parseAddress as parseBytes
} from '../crdt/cidr.ts'
import { byText } from '../once.ts'

export type Family = 4 | 6

export interface Address {
  family: Family
  value: bigint
}

/** A network: `value` has no host bits. */
export interface Prefix extends Address {
  length: number
}

export const BITS: Record<Family, number> = { 4: 32, 6: 128 }

/** An address from its text, or null when it is none. Zone ids (`%eth0`) are not addresses here. */
export function parseAddress(text: string): Address | null {
  const bytes = parseBytes(text)
  return bytes == null ? null : { family: bytes.length === 4 ? 4 : 6, value: addressToBigInt(bytes) }
}

/** A network from `ADDRESS/LENGTH`; host bits are dropped. Null when it is none. The same object for the same text. */
export const parsePrefix = byText((text): Readonly<Prefix> | null => {
  const slash = text.lastIndexOf('/')
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (address == null) return null
  const bits = BITS[address.family]
  const suffix = slash < 0 ? String(bits) : text.slice(slash + 1)
  if (!/^\d{1,3}$/.test(suffix) || Number(suffix) > bits) return null
  return prefixOf(address, Number(suffix))
})

/** The network of `length` bits that `address` lies in. */
export const prefixOf = ({ family, value }: Address, length: number): Prefix => ({
  family,
  length,
  value: value & mask(family, length)
})

export const mask = (family: Family, length: number): bigint => {
  const bits = BigInt(BITS[family])
  return ((1n << bits) - 1n) ^ ((1n << (bits - BigInt(length))) - 1n)
}

/** Whether `inner` (an address or a network) lies wholly within `outer`. */
export const contains = (outer: Prefix, inner: Address | Prefix): boolean =>
  outer.family === inner.family &&
  (!('length' in inner) || inner.length >= outer.length) &&
  (inner.value & mask(outer.family, outer.length)) === outer.value

export const samePrefix = (a: Prefix, b: Prefix): boolean =>
  a.family === b.family && a.length === b.length && a.value === b.value

/** The last address of a network: the broadcast address of an IPv4 one. */
export const lastAddress = ({ family, length, value }: Prefix): Address => ({
  family,
  value: value | ((1n << BigInt(BITS[family] - length)) - 1n)
})

export const formatAddress = ({ family, value }: Address): string => formatBytes(bigIntToAddress(value, family))

export const formatPrefix = (prefix: Prefix): string => `${formatAddress(prefix)}/${prefix.length}`

/** `HOST:PORT` or `[V6]:PORT` with a literal address, or null. */
export function parseEndpoint(text: string): { address: Address; port: number } | null {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  if (match == null) return null
  const address = parseAddress(match[1] ?? match[2] ?? '')
  const port = Number(match[3])
  return address == null || port > 65535 ? null : { address, port }
}
