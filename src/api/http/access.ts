import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import { ArcticError } from '../../errors.ts'

/** Answered to anybody who reaches the TCP port: probes and scrapers carry no token. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

/** Who may ask what. Whoever opened the unix socket is admin: its file mode 0600 is the check. */
export class Access {
  readonly #trusted = new WeakSet<Socket>()

  /** Every connection to `server` is admin's. */
  trust(server: Server): void {
    server.on('connection', (socket: Socket) => this.#trusted.add(socket))
  }

  /** It came by the unix socket. */
  isTrusted(request: FastifyRequest): boolean {
    return this.#trusted.has(request.raw.socket)
  }

  /** Throws unless the request may be answered. */
  check(request: FastifyRequest): void {
    if (this.isTrusted(request)) return
    const { socket } = request.raw
    // A certificate's name would be wrong, and an address beyond loopback is anybody's to name.
    if (!('encrypted' in socket) && isLoopback(socket.localAddress ?? '')) checkHost(request.headers.host)
    if (OPEN_PATHS.has(request.routeOptions.url ?? '')) return
    throw new ArcticError(
      'unauthorized',
      'this address takes bearer tokens only, and this agent has none yet; ask through its unix socket on this host, ' +
        'for example "arctic --socket PATH status"'
    )
  }
}

/**
 * A web page whose name was rebound to 127.0.0.1 reaches this port with its own name as Host; an honest client of a
 * loopback port says `localhost` or the address.
 */
function checkHost(host: string | undefined): void {
  const name = host == null ? '' : hostName(host)
  if (name === 'localhost' || isLoopback(name)) return
  throw new ArcticError(
    'forbidden',
    `the Host header "${name.slice(0, 100)}" is not this agent's; use localhost, 127.0.0.1 or [::1]`
  )
}

/** `[::1]:8080` → `::1`, `localhost:8080` → `localhost`. */
function hostName(host: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(host)
  return (bracketed?.[1] ?? host.replace(/:\d+$/, '')).toLowerCase().replace(/\.$/, '')
}

export function isLoopback(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback'
}
