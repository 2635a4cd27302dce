import type { Server } from 'node:http'
import { join } from 'node:path'
import type { Operator } from '../../actors/operator/operator.ts'
import { type Clock, systemClock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { Applier } from '../declare/applier.ts'
import { Journal } from '../declare/journal.ts'
import { Access } from './access.ts'
import { createApp } from './app.ts'
import { EventHub } from './event-hub.ts'
import { stopGraceMs } from './limits.ts'
import { listenOnSocket, listenOnTcp } from './listen.ts'

export interface HttpOptions {
  operator: Operator
  /** Where the unix socket is made. */
  socketPath: string
  /** `HOST:PORT` on loopback, or null for none. */
  apiListen: string | null
  /** Where an apply that waits for its confirmation is kept. */
  stateDir: string
  log: Logger
  version: string
  clock?: Clock
}

export interface Http {
  /** `HOST:PORT` as bound, or null. */
  readonly tcpAddress: string | null
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
  const access = new Access()
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

  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= close())
  const close = async (): Promise<void> => {
    unsubscribe()
    stopping.abort()
    await Promise.all(servers.map((server) => closeServer(server, clock)))
    await app.close()
    await applier.stop()
  }

  try {
    const local = newServer()
    access.trust(local)
    await listenOnSocket(local, socketPath, clock)
    servers.push(local)
    let tcpAddress: string | null = null
    if (apiListen != null) {
      const remote = newServer()
      tcpAddress = await listenOnTcp(remote, apiListen)
      servers.push(remote)
    }
    await applier.start()
    log.info({ socket: socketPath, tcp: tcpAddress }, 'the API listens')
    return { tcpAddress, stop }
  } catch (error) {
    await stop()
    throw error
  }
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
