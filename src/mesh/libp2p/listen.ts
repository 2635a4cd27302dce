import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { isIPv4, isIPv6 } from 'node:net'
import { InvalidRequestError, UnavailableError } from '../../errors.ts'

/** A listen address as libp2p takes it. InvalidRequestError when it is none of a TCP port. */
export function parseListen(text: string): Multiaddr {
  let parsed: Multiaddr
  try {
    parsed = multiaddr(text)
  } catch {
    throw notTcp(text)
  }
  const names = parsed.getComponents().map((component) => component.name)
  if (names.length !== 2 || !/^(ip4|ip6)$/.test(names[0]!) || names[1] !== 'tcp') throw notTcp(text)
  return parsed
}

const notTcp = (text: string): InvalidRequestError =>
  new InvalidRequestError(
    `mesh listen address "${text}" is not a TCP multiaddr; write for example /ip4/0.0.0.0/tcp/7946`
  )

/** What libp2p's failure to listen means for the operator. Anything else comes back as it is. */
export function listenError(error: unknown, listen: string[]): unknown {
  const text = error instanceof Error ? error.message : ''
  if (error instanceof Error && error.name !== 'UnsupportedListenAddressesError') return error
  const address = listen.find((one) => text.includes(`${one}: `)) ?? listen.join(', ')
  const code = /\b(E[A-Z]{4,})\b/.exec(text)?.[1] ?? 'unknown error'
  const next =
    {
      EADDRINUSE: 'another process uses this port: stop it (see "ss -ltnp"), or choose another one with --mesh-listen',
      EADDRNOTAVAIL: 'this host has no such address: see "ip address", and correct --mesh-listen',
      EACCES: 'the port needs more rights: use one above 1023 with --mesh-listen, or give CAP_NET_BIND_SERVICE'
    }[code] ?? 'correct --mesh-listen'
  return new UnavailableError(`cannot listen on ${address} (${code}); ${next}`, { address, code }, { cause: error })
}

/**
 * What other peers should dial: each advertised host with the port listened on; without any, what is listened on, where
 * loopback counts only if there is nothing else.
 */
export function dialable(bound: string[], advertise: string[]): string[] {
  const first = bound[0]
  if (advertise.length > 0 && first != null) {
    const port = /\/tcp\/(\d+)/.exec(first)?.[1]
    return advertise.map((host) => {
      const portOf = bound.find((one) => one.startsWith(isIPv6(host) ? '/ip6/' : '/ip4/'))
      const kind = isIPv4(host) ? 'ip4' : isIPv6(host) ? 'ip6' : 'dns'
      return `/${kind}/${host}/tcp/${/\/tcp\/(\d+)/.exec(portOf ?? '')?.[1] ?? port}`
    })
  }
  const outside = bound.filter((one) => !/^\/(ip4\/127\.|ip6\/::1\/|ip6\/fe[89ab])/.test(one))
  return outside.length > 0 ? outside : bound
}
