import { createHash } from 'node:crypto'
import type { PeerId, ServiceId } from '../crdt/schema.ts'
import { ALIAS_PREFIX, isOurs } from './interfaces.ts'
import type { IpLink } from './ip.ts'
import { interfaceNameLengthMax, tunnelAddress, tunnelMtuBytes } from './limits.ts'
import { formatPrefix, parseAddress, parsePrefix } from './prefix.ts'

/** A device that should be there. Names are unique on the host; `alias` marks it as ours. */
export type WantedDevice =
  | { kind: 'tun'; name: string; alias: string }
  | { kind: 'macvlan'; name: string; alias: string; parent: string; mac: string; addresses: DeviceAddress[] }

export interface DeviceAddress {
  cidr: string
  /** The host reaches this network by another interface already, and goes on to: no second route to it. */
  shared: boolean
}

/** A device that cannot be made, with the reason an operator reads as a condition. */
export class DeviceError extends Error {
  readonly reason: 'InterfaceConflict' | 'MacvlanFailed' | 'TunnelDeviceFailed'

  constructor(reason: DeviceError['reason'], message: string) {
    super(message)
    this.name = 'DeviceError'
    this.reason = reason
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** `arct-` and 8 hex digits of the peer id's SHA-256: stable, so that a restarted agent finds its device again. */
export const tunnelDeviceName = (peer: PeerId): string => `arct-${digest(peer).toString('hex').slice(0, 8)}`

/** First 15 characters of the service id in lower case (contract). */
export const serviceDeviceName = (service: ServiceId): string => service.slice(0, interfaceNameLengthMax).toLowerCase()

export const tunnelDevice = (peer: PeerId): WantedDevice => ({
  kind: 'tun',
  name: tunnelDeviceName(peer),
  alias: `${ALIAS_PREFIX}tunnel ${peer.replaceAll(/[^A-Za-z0-9]/g, '')}`
})

/** The MAC follows from the service id, so that a device made again keeps its neighbours' ARP entries valid. */
export function serviceDevice(service: ServiceId, parent: string, addresses: readonly DeviceAddress[]): WantedDevice {
  const mac = [0x02, ...digest(`macvlan ${service}`).subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0'))
  return {
    kind: 'macvlan',
    name: serviceDeviceName(service),
    alias: `${ALIAS_PREFIX}service ${service}`,
    parent,
    mac: mac.join(':'),
    addresses: [...addresses]
  }
}

/**
 * `ip` commands that make a device as wanted out of what is there; none when it is right already.
 *
 * @throws {DeviceError} InterfaceConflict when the name belongs to somebody else
 */
export function deviceCommands(wanted: WantedDevice, links: readonly IpLink[]): string[] {
  const link = links.find(({ ifname }) => ifname === wanted.name)
  if (link == null) return [...createCommands(wanted), ...upCommands(wanted), ...addressCommands(wanted, null)]
  if (!isOurs(link) || link.ifalias !== wanted.alias) {
    const owner = link.ifalias == null ? 'not made by arctic' : `that of "${link.ifalias}"`
    throw new DeviceError(
      'InterfaceConflict',
      `the host has a device ${wanted.name} already and it is ${owner}; rename or remove it, or create the service anew for another name`
    )
  }
  const wrong = wanted.kind === 'macvlan' && (link.link !== wanted.parent || link.linkinfo?.info_kind !== 'macvlan')
  if (wrong) {
    return [
      `link delete dev ${wanted.name}`,
      ...createCommands(wanted),
      ...upCommands(wanted),
      ...addressCommands(wanted, null)
    ]
  }
  const up = link.flags.includes('UP') && (wanted.kind !== 'tun' || link.mtu === tunnelMtuBytes)
  return [...(up ? [] : upCommands(wanted)), ...addressCommands(wanted, link)]
}

/** A half-made device has no alias and would look like somebody else's, so the alias comes with the first step. */
function createCommands(wanted: WantedDevice): string[] {
  const alias = `link set dev ${wanted.name} alias "${wanted.alias}"`
  return wanted.kind === 'tun'
    ? [`tuntap add dev ${wanted.name} mode tun vnet_hdr`, alias]
    : [`link add link ${wanted.parent} name ${wanted.name} address ${wanted.mac} type macvlan mode bridge`, alias]
}

/** A tunnel needs no IPv6 address: the kernel answers with the host's own. Without one it also stays silent (no MLD, no RS). */
const upCommands = (wanted: WantedDevice): string[] =>
  wanted.kind === 'tun'
    ? [`link set dev ${wanted.name} mtu ${tunnelMtuBytes} addrgenmode none multicast off up`]
    : [`link set dev ${wanted.name} up`]

function addressCommands(wanted: WantedDevice, link: IpLink | null): string[] {
  if (wanted.kind === 'tun') {
    const has = link?.addr_info.some(({ local }) => local === tunnelAddress)
    return has === true ? [] : [`address add ${tunnelAddress}/32 dev ${wanted.name} scope link noprefixroute`]
  }
  const now = (link?.addr_info ?? [])
    .filter(({ scope }) => scope !== 'link')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  const want = wanted.addresses.map(({ cidr, shared }) => ({ cidr: canonical(cidr), shared }))
  return [
    ...now
      .filter((address) => !want.some(({ cidr }) => cidr === address))
      .map((address) => `address delete ${address} dev ${wanted.name}`),
    ...want
      .filter(({ cidr }) => !now.includes(cidr))
      .map(({ cidr, shared }) => `address add ${cidr} dev ${wanted.name}${shared ? ' noprefixroute' : ''}`)
  ]
}

/**
 * Has the kernel tell the neighbours, by ARP and neighbour discovery, whose the device's addresses are now: another service's
 * device may have had them a moment ago. Being given a MAC address is what makes it speak, also when it is the same one
 * (`arp_notify`, `ndisc_notify`; see sysctl.ts).
 */
export const announceCommands = (wanted: WantedDevice): string[] =>
  wanted.kind === 'macvlan' && wanted.addresses.length > 0 ? [`link set dev ${wanted.name} address ${wanted.mac}`] : []

/** An interface address keeps its host bits; only the spelling is made the kernel's. */
function canonical(cidr: string): string {
  const [host = '', length = ''] = cidr.split('/')
  const address = parseAddress(host)
  if (address == null || parsePrefix(cidr) == null)
    throw new DeviceError('MacvlanFailed', `"${cidr}" is no address with a prefix length`)
  const full = formatPrefix({ ...address, length: address.family === 4 ? 32 : 128 })
  return `${full.slice(0, full.lastIndexOf('/'))}/${length === '' ? (address.family === 4 ? 32 : 128) : length}`
}

/** Devices of ours that nobody wants any more. */
export const staleDevices = (wanted: readonly WantedDevice[], links: readonly IpLink[]): string[] =>
  links.filter((link) => isOurs(link) && !wanted.some(({ name }) => name === link.ifname)).map(({ ifname }) => ifname)
