import { createConnection, createServer, type Server } from 'node:net'
import type { Clock } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import { hostLockAnswerMs } from './limits.ts'

/**
 * One data plane per network namespace: two would replace each other's tables for ever. The lock is an abstract unix
 * socket, which belongs to the network namespace as the tables do, and goes with its process however that ends.
 */
export interface HostLock {
  release(): Promise<void>
}

const NAME = '\0arctic-dataplane'

/** @throws {UnavailableError} naming the process and state directory that hold the lock */
export async function lockHost(stateDir: string, clock: Clock): Promise<HostLock> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(`agent with pid ${process.pid} and state directory ${stateDir}`)
  })
  try {
    await listen(server)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const holder = (await ask(clock)) ?? 'agent that does not answer'
    throw new UnavailableError(
      `another ${holder} runs the data plane of this host; stop it first, or start this one with --dataplane none`,
      { reason: 'HostLocked' }
    )
  }
  server.unref()
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}

const listen = (server: Server): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(NAME, () => resolve())
  })

/** Who holds the lock, in its own words; null when it does not say. */
function ask(clock: Clock): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createConnection(NAME)
    let text = ''
    const done = (answer: string | null): void => {
      timer.cancel()
      socket.destroy()
      resolve(answer)
    }
    const timer = clock.after(hostLockAnswerMs, () => done(null))
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.length > 4096) done(null)
    })
    socket.on('error', () => done(null))
    socket.on('end', () => done(text === '' ? null : text))
  })
}
