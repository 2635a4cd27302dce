import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import type { Operator } from '../../actors/operator/operator.ts'
import type { TokenJson } from '../../actors/operator/tokens.ts'
import { covers, type Scope } from '../../crdt/scopes.ts'
import { ForbiddenError, UnauthorizedError } from '../../errors.ts'
import type { Demand } from './scopes.ts'

/**
 * Who may ask what. Whoever opened the unix socket is admin: its file mode 0600 is the check. On TCP a request shows a
 * token, whose scopes must cover what its route demands (`scopes.ts`).
 */
export class Access {
  readonly #operator: Pick<Operator, 'authenticate'>
  readonly #trusted = new WeakSet<Socket>()
  readonly #callers = new WeakMap<FastifyRequest, TokenJson>()

  constructor(operator: Pick<Operator, 'authenticate'>) {
    this.#operator = operator
  }

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
    // Where nothing is, any token may learn so.
    const demand: Demand = request.routeOptions.config.demand ?? { scopes: [] }
    try {
      this.#callers.set(request, this.#operator.authenticate(bearerOf(request)))
      for (const scope of demand.scopes) this.demand(request, scope)
    } catch (error) {
      if (demand.open === 'always' || (demand.open === 'loopback' && isOnThisHost(socket))) return
      throw error
    }
  }

  /** Whose token the request showed; null for the unix socket, and for who needed none. */
  callerOf(request: FastifyRequest): TokenJson | null {
    return this.#callers.get(request) ?? null
  }

  /** True when who asks may also do what `scope` stands for. */
  holds(request: FastifyRequest, scope: Scope): boolean {
    return this.isTrusted(request) || covers(this.#callers.get(request)?.scopes ?? [], scope)
  }

  /** ForbiddenError unless who asks may also do what `scope` stands for. */
  demand(request: FastifyRequest, scope: Scope): void {
    if (this.holds(request, scope)) return
    const name = this.#callers.get(request)?.name ?? ''
    throw new ForbiddenError(`the token "${name}" has no scope ${scope}; make one with it: arctic tokens create`, {
      scope
    })
  }

  /** True for who holds the scope, and for who is on this host. */
  mayKnow(request: FastifyRequest, scope: Scope): boolean {
    return isOnThisHost(request.raw.socket) || this.holds(request, scope)
  }

  /** For an answer without end: false once the token that asked for it has expired or was revoked. */
  isStillGood(request: FastifyRequest): boolean {
    if (this.isTrusted(request)) return true
    try {
      this.#operator.authenticate(bearerOf(request))
      return true
    } catch {
      return false
    }
  }
}

function bearerOf({ headers }: FastifyRequest): string {
  const text = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
  if (text != null) return text
  throw new UnauthorizedError(
    headers.authorization == null
      ? 'this address takes bearer tokens only; give one (--token or ARCTIC_TOKEN), or ask through the unix socket on this host'
      : 'the Authorization header holds no bearer token; write "Authorization: Bearer TOKEN"'
  )
}

/**
 * A web page whose name was rebound to 127.0.0.1 reaches this port with its own name as Host; an honest client of a
 * loopback port says `localhost` or the address.
 */
function checkHost(host: string | undefined): void {
  const name = host == null ? '' : hostName(host)
  if (name === 'localhost' || isLoopback(name)) return
  throw new ForbiddenError(
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

/** Both ends, so that nobody comes in by an address that is routed to loopback. */
const isOnThisHost = ({ localAddress, remoteAddress }: Socket): boolean =>
  isLoopback(localAddress ?? '') && isLoopback(remoteAddress ?? '')
