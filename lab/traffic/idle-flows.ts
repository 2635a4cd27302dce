/**
 * COUNT connections to an echo server that are made, proven by one byte there and back, and then left alone. Says `held`
 * once all are there; at SIGUSR2 proves each once more and says `alive`; ends at SIGTERM.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, count] = argumentsOf('ADDRESS', 'PORT', 'COUNT') as [string, string, string]
/** Connections in the making at a time: fewer than any listener's queue holds. */
const AT_ONCE = 128
const PATIENCE_MS = 30_000

const sockets: Socket[] = []
const begun = systemClock.monotonic()
let failed = 0
let left = Number(count)
await Promise.all(Array.from({ length: AT_ONCE }, worker))
say('held', { count: sockets.length, failed, ms: systemClock.monotonic() - begun })

process.on('SIGUSR2', async () => {
  const answers: boolean[] = []
  for (let at = 0; at < sockets.length; at += AT_ONCE) {
    answers.push(...(await Promise.all(sockets.slice(at, at + AT_ONCE).map(answersOnce))))
  }
  say('alive', { count: answers.filter(Boolean).length })
})
process.on('SIGTERM', () => process.exit(0))
async function worker(): Promise<void> {
  while (left-- > 0) {
    const socket = connect({ host: address, port: Number(port) })
    socket.on('error', () => {})
    if (await answersOnce(socket)) sockets.push(socket)
    else failed++
  }
}

async function answersOnce(socket: Socket): Promise<boolean> {
  if (socket.destroyed) return false
  const patience = AbortSignal.timeout(PATIENCE_MS)
  try {
    socket.write('x')
    await once(socket, 'data', { signal: patience })
    return true
  } catch {
    return false
  }
}
