/**
 * Somebody who has no business here: COUNT connections (or datagrams) to a port, for HOLD_MS.
 *
 *   garbage  random bytes, as much as the other side takes
 *   length   a varint without an end
 *   names    one short name after the other, as multistream-select frames them
 *   slow     one byte a second, never an end
 *   silent   connects and says nothing
 *   udp      COUNT datagrams of random bytes, 1 to 1400 long
 */
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { systemRandom } from '../../src/random.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, manner, count, holdMs] = argumentsOf('ADDRESS', 'PORT', 'MANNER', 'COUNT', 'HOLD_MS') as [
  string,
  string,
  string,
  string,
  string
]
const FIRST_BYTES = 64 * 1024
const firstBytes: Record<string, () => Uint8Array> = {
  garbage: () => systemRandom.bytes(FIRST_BYTES),
  length: () => Buffer.alloc(FIRST_BYTES, 0xff),
  names: () => Buffer.alloc(FIRST_BYTES, '\x02x\n')
}
let connected = 0
let ended = 0

if (manner === 'udp') {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.on('error', () => {})
  for (let n = 0; n < Number(count); n++) {
    socket.send(systemRandom.bytes(1 + Math.floor(systemRandom.float() * 1400)), Number(port), address)
    if (n % 100 === 99) await systemClock.sleep(1)
  }
  await systemClock.sleep(Number(holdMs))
} else {
  const sockets = Array.from({ length: Number(count) }, () => come())
  await systemClock.sleep(Number(holdMs))
  for (const socket of sockets) socket.destroy()
}
say('done', { manner, count: Number(count), connected, ended_by_them: ended })
process.exit(0)

function come(): Socket {
  const socket = connect({ host: address, port: Number(port) })
  socket.on('connect', () => {
    connected += 1
    const bytes = firstBytes[manner]?.()
    if (bytes != null) socket.write(bytes)
    if (manner === 'slow') drip(socket)
  })
  socket.on('data', () => {})
  socket.on('error', () => {})
  socket.on('close', () => (ended += 1))
  return socket
}

function drip(socket: Socket): void {
  socket.write(systemRandom.bytes(1))
  const timer = systemClock.every(1000, () => socket.write(systemRandom.bytes(1)))
  socket.on('close', () => timer.cancel())
}
