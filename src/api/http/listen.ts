import { lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type ListenOptions } from 'node:net'
import { dirname } from 'node:path'
import type { Clock } from '../../clock.ts'
import { InvalidRequestError, UnavailableError } from '../../errors.ts'
import { isLoopback } from './access.ts'
import { socketPathBytesMax, socketProbeMs } from './limits.ts'

/**
 * Binds `server` to a unix socket that only its owner can open.
 * 1. Refuse a path that the kernel would cut off.
 * 2. If something is there: a living agent is an error, a socket nobody listens on is a dead agent's and removed,
 *    anything else is not ours to remove.
 * 3. Bind under a umask that leaves 0600 from the first instant.
 */
export async function listenOnSocket(server: Server, path: string, clock: Clock): Promise<void> {
  const bytes = Buffer.byteLength(path)
  if (bytes > socketPathBytesMax) {
    throw new InvalidRequestError(
      `the socket path "${path}" has ${bytes} bytes, unix allows ${socketPathBytesMax}; choose a shorter one with --socket`
    )
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    await clearStaleSocket(path, clock)
    const before = process.umask(0o177)
    try {
      await listen(server, { path })
    } finally {
      process.umask(before)
    }
  } catch (error) {
    throw explain(error, `socket ${path}`, '--socket')
  }
}

/** Nobody but this host reaches it. */
export function isLocal(apiListen: string): boolean {
  const { host } = parseHostPort(apiListen)
  return host === 'localhost' || isLoopback(host)
}

/** Binds `server` to an address; resolves with the `HOST:PORT` it got. */
export async function listenOnTcp(server: Server, apiListen: string): Promise<string> {
  const { host, port } = parseHostPort(apiListen)
  try {
    await listen(server, { host, port })
  } catch (error) {
    throw explain(error, `API address ${apiListen}`, '--api-listen')
  }
  const { address, family, port: bound } = server.address() as AddressInfo
  return family === 'IPv6' ? `[${address}]:${bound}` : `${address}:${bound}`
}

function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host == null || !(port <= 65_535)) {
    throw new InvalidRequestError(`--api-listen "${text}" is not HOST:PORT; write for example 127.0.0.1:8080, or off`)
  }
  return { host, port }
}

async function clearStaleSocket(path: string, clock: Clock): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found == null) return
  if (!found.isSocket()) {
    throw new InvalidRequestError(`"${path}" exists and is not a socket; move it away or choose another --socket`)
  }
  if (await somebodyListens(path, clock)) {
    throw new UnavailableError(
      `another agent listens on socket ${path}; stop it first, or give this one its own --socket, --state-dir and ports`,
      { path }
    )
  }
  unlinkSync(path)
}

/** An agent that accepts no connection within `socketProbeMs` is stalled but alive: its socket is not taken away. */
function somebodyListens(path: string, clock: Clock): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const settle = (answer: boolean | Error): void => {
      timer.cancel()
      socket.destroy()
      if (typeof answer === 'boolean') resolve(answer)
      else reject(answer)
    }
    const timer = clock.after(socketProbeMs, () => settle(true))
    socket.once('connect', () => settle(true))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') settle(false)
      else if (error.code === 'EAGAIN') settle(true)
      else settle(error)
    })
  })
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}

function explain(error: unknown, what: string, flag: string): unknown {
  switch ((error as NodeJS.ErrnoException | null)?.code) {
    case 'EADDRINUSE':
      return new UnavailableError(`the ${what} is taken by another program; stop it or choose another one with ${flag}`)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new UnavailableError(`no permission for the ${what}; run as root or choose another one with ${flag}`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new UnavailableError(`the ${what} is not an address of this host; choose another one with ${flag}`)
    case 'ENOTDIR':
    case 'EEXIST':
      return new UnavailableError(`the directory of the ${what} is a file; choose another one with ${flag}`)
    default:
      return error
  }
}
