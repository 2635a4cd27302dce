import { networkInterfaces } from 'node:os'

/**
 * `HOST:PORT` texts that other peers should try for the data port: each advertised host, else the address listened on,
 * else (listening on all) every address of this host that another one could have a way to.
 */
export function dataAddresses(listen: string, advertise: readonly string[], hosts = ownHosts()): string[] {
  const { host, port } = splitHostPort(listen)
  if (advertise.length > 0) return advertise.map((one) => joinHostPort(one, port))
  if (host !== '0.0.0.0' && host !== '::') return [joinHostPort(host, port)]
  // `::` takes IPv4 as well; `0.0.0.0` takes nothing else.
  return hosts.filter((one) => host === '::' || !isIPv6(one)).map((one) => joinHostPort(one, port))
}

/** Tunnels, and services' MACVLAN devices: the first 15 characters of a ULID in lower case. */
const OWN_DEVICE = /^(arct-.*|[0-7][0-9a-hjkmnp-tv-z]{14})$/

/** Addresses of this host's interfaces, IPv4 first; loopback and link-local ones lead nobody here, our own devices astray. */
export function ownHosts(interfaces = networkInterfaces()): string[] {
  const all = Object.entries(interfaces)
    .filter(([device]) => !OWN_DEVICE.test(device))
    .flatMap(([, list]) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^(169\.254\.|fe[89ab])/.test(address))
    .map(({ address }) => address)
  return [...all.filter((address) => !isIPv6(address)), ...all.filter((address) => isIPv6(address))]
}

/**
 * Mesh addresses (multiaddrs) that are not those of our own devices: such an address comes and goes with a service, and
 * what is sent to it may be carried away by that service.
 */
export function withoutOwnDevices(multiaddrs: readonly string[], interfaces = networkInterfaces()): string[] {
  const own = new Set(
    Object.entries(interfaces)
      .filter(([device]) => OWN_DEVICE.test(device))
      .flatMap(([, list]) => (list ?? []).map(({ address }) => address))
  )
  return multiaddrs.filter((one) => !own.has(one.split('/')[2] ?? ''))
}

export function splitHostPort(text: string): { host: string; port: string } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: text.slice(at + 1) }
}

export const joinHostPort = (host: string, port: string): string =>
  isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`

/** A host that others are told has a colon only as an IPv6 address. `net.isIPv6` costs a start 9 ms. */
const isIPv6 = (host: string): boolean => host.includes(':')
