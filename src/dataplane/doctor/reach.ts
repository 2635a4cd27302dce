import { createConnection } from 'node:net'
import type { Clock } from '../../clock.ts'
import { reachTimeoutMs } from '../limits.ts'

/** Whether somebody takes TCP connections at `HOST:PORT`; null, or why not. */
export function connects(address: string, clock: Clock): Promise<string | null> {
  const at = address.lastIndexOf(':')
  return new Promise((resolve) => {
    const socket = createConnection({
      host: address.slice(0, at).replace(/^\[|\]$/g, ''),
      port: Number(address.slice(at + 1))
    })
    const done = (why: string | null): void => {
      timer.cancel()
      socket.destroy()
      resolve(why)
    }
    const timer = clock.after(reachTimeoutMs, () => done('no answer'))
    socket.once('connect', () => done(null))
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
  })
}
