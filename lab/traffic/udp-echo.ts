/** Sends COUNT datagrams of TEXT and a number, one after another's answer, and says which came back unchanged. */
import { createSocket } from 'node:dgram'
import { systemClock } from '../../src/clock.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, text, count, waitMs] = argumentsOf('ADDRESS', 'PORT', 'TEXT', 'COUNT', 'WAIT_MS') as [
  string,
  string,
  string,
  string,
  string
]
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
const rtts: number[] = []
let from = ''

for (let n = 0; n < Number(count); n++) {
  const message = `${text} ${n}`
  const start = systemClock.monotonic()
  const answered = new Promise<void>((resolve) => {
    socket.once('message', (data, sender) => {
      if (data.toString() === message) rtts.push(systemClock.monotonic() - start)
      from = sender.address
      resolve()
    })
  })
  // An unreachable destination shows up as an error of the socket; not answered is not answered.
  socket.once('error', () => {})
  socket.send(message, Number(port), address, () => {})
  await Promise.race([answered, systemClock.sleep(Number(waitMs))])
  socket.removeAllListeners()
  socket.on('error', () => {})
}
say('done', { sent: Number(count), received: rtts.length, from, rtt_ms: rtts })
socket.close()
process.exit(0)
