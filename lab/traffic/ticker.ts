/**
 * One long connection to an echo server with a number on it every EVERY_MS. It says each answer's number and round trip,
 * and `broken` with the reason when the connection ends: what must not happen while agents come and go.
 */
import { connect } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, everyMs] = argumentsOf('ADDRESS', 'PORT', 'EVERY_MS') as [string, string, string]
const socket = connect({ host: address, port: Number(port), noDelay: true })
const sentAt = new Map<number, number>()
let pending = ''

socket.on('data', (chunk) => {
  const lines = (pending + chunk.toString()).split('\n')
  pending = lines.pop() ?? ''
  for (const line of lines) {
    const at = sentAt.get(Number(line))
    if (at == null) {
      say('broken', { how: `answer ${JSON.stringify(line)} to nothing that was asked` })
      process.exit(1)
    }
    sentAt.delete(Number(line))
    say('tick', { n: Number(line), ms: systemClock.monotonic() - at })
  }
})
socket.on('connect', () => say('open', { local: `${socket.localAddress}:${socket.localPort}` }))
for (const event of ['error', 'end', 'close'] as const) {
  socket.on(event, (error?: unknown) => {
    say('broken', { how: error instanceof Error ? error.message : event })
    process.exit(1)
  })
}
for (let n = 0; ; n++) {
  await systemClock.sleep(Number(everyMs))
  sentAt.set(n, systemClock.monotonic())
  socket.write(`${n}\n`)
}
