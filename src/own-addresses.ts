import { networkInterfaces } from 'node:os'
import { isIPv6 } from 'node:net'

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

/** Addresses of this host's interfaces, IPv4 first; loopback and link-local ones lead nobody here. */
export function ownHosts(): string[] {
  const all = Object.entries(networkInterfaces())
    .filter(([device]) => !device.startsWith('arct-'))
    .flatMap(([, list]) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^(169\.254\.|fe[89ab])/.test(address))
    .map(({ address }) => address)
  return [...all.filter((address) => !isIPv6(address)), ...all.filter((address) => isIPv6(address))]
}

export function splitHostPort(text: string): { host: string; port: string } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: text.slice(at + 1) }
}

export const joinHostPort = (host: string, port: string): string =>
  isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
