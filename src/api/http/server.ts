import type { Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import { join } from 'node:path'
import type { Operator } from '../../actors/operator/operator.ts'
import { type Clock, systemClock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { Applier } from '../declare/applier.ts'
import { Journal } from '../declare/journal.ts'
import { Access } from './access.ts'
import { createApp, type NewServer } from './app.ts'
import { EventHub } from './event-hub.ts'
import { stopGraceMs } from './limits.ts'
import { isLocal, listenOnSocket, listenOnTcp } from './listen.ts'
import { limitConnections } from './rate-limit.ts'
import { ApiTls } from './tls/api-tls.ts'

export interface HttpOptions {
  operator: Operator
  /** Where the unix socket is made. */
  socketPath: string
  /** `HOST:PORT`, or null for none. */
  apiListen: string | null
  /** How it is protected there. Beyond loopback it is HTTPS unless `plain`, by a certificate of its own if none is given. */
  tls?: { cert: string | null; key: string | null; plain: boolean; names: readonly string[] }
  /** Where an apply that waits for its confirmation is kept. */
  stateDir: string
  log: Logger
  version: string
  clock?: Clock
}

export interface Http {
  /** `HOST:PORT` as bound, or null. */
  readonly tcpAddress: string | null
  /** SHA-256 of the certificate in use, `AB:CD:…`; null where the API is plain HTTP. */
  readonly fingerprint: string | null
  /** Reads the certificate again. */
  reload(): Promise<void>
  /** Stops accepting, ends event streams, gives running requests `stopGraceMs`, then cuts. Removes the socket file. */
  stop(): Promise<void>
}

/**
 * The HTTP API at its doors:
 * 1. the application, which knows no listener;
 * 2. the unix socket, whose opener is admin;
 * 3. the TCP address, whose caller needs a token.
 * Rejects with ArcticError when a door cannot be opened, and then has left nothing open.
 */
export async function startHttp(options: HttpOptions): Promise<Http> {
  const { operator, socketPath, apiListen, stateDir, version, clock = systemClock } = options
  const log = options.log.module('api')
  const access = new Access(operator)
  const hub = new EventHub(clock.now())
  const stopping = new AbortController()
  const applier = new Applier({
    operator,
    journal: new Journal(join(stateDir, 'apply-pending.json')),
    clock,
    log
  })
  const { app, newServer } = await createApp({
    operator,
    applier,
    hub,
    access,
    clock,
    log,
    version,
    stopping: stopping.signal
  })
  const unsubscribe = operator.onEvent((event) => hub.publish(event))
  const servers: Server[] = []

  let tls: ApiTls | null = null
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= close())
  const close = async (): Promise<void> => {
    unsubscribe()
    stopping.abort()
    await Promise.all(servers.map((server) => closeServer(server, clock)))
    await app.close()
    await applier.stop()
    tls?.stop()
  }

  try {
    const local = newServer()
    access.trust(local)
    await listenOnSocket(local, socketPath, clock)
    servers.push(local)
    let tcpAddress: string | null = null
    if (apiListen != null) {
      tls = await openTls(options, apiListen, { clock, log })
      const remote = tls == null ? newServer() : secureServer(newServer, tls)
      limitConnections(remote)
      tcpAddress = await listenOnTcp(remote, apiListen)
      servers.push(remote)
    }
    await applier.start()
    log.info({ socket: socketPath, tcp: tcpAddress, fingerprint: tls?.fingerprint ?? null }, 'the API listens')
    return {
      tcpAddress,
      get fingerprint() {
        return tls?.fingerprint ?? null
      },
      reload: async () => tls?.reload(),
      stop
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The certificate of the TCP address; null where it is plain HTTP. */
async function openTls(
  { tls = { cert: null, key: null, plain: false, names: [] }, stateDir }: HttpOptions,
  apiListen: string,
  parts: { clock: Clock; log: Logger }
): Promise<ApiTls | null> {
  const { cert, key, plain, names } = tls
  if (cert != null && key != null) return ApiTls.open({ kind: 'files', cert, key }, parts)
  if (isLocal(apiListen)) return null
  if (plain) {
    parts.log.warn(
      { api_listen: apiListen },
      'the API is plain HTTP beyond loopback: tokens cross the network in clear'
    )
    return null
  }
  return ApiTls.open({ kind: 'own', stateDir, names }, parts)
}

function secureServer(newServer: NewServer, tls: ApiTls): TlsServer {
  const server = newServer(tls.pair)
  tls.onChange((pair) => server.setSecureContext(pair))
  return server
}

function closeServer(server: Server, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const deadline = clock.after(stopGraceMs, () => server.closeAllConnections())
    server.close(() => {
      deadline.cancel()
      resolve()
    })
    server.closeIdleConnections()
  })
}
