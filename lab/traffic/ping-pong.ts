/**
 * COUNT times one byte to an echo server and back, one after the other: over one connection (`same`), or each over one of
 * its own (`new`), then from before the connect on. Says `done` with the times in ms; a connection that ends early fails it.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, count, manner] = argumentsOf('ADDRESS', 'PORT', 'COUNT', 'same|new') as [
  string,
  string,
  string,
  string
]
const open = (): Socket => connect({ host: address, port: Number(port), noDelay: true })

const ms: number[] = []
let socket = open()
for (let n = 0; n <= Number(count); n++) {
  const begun = systemClock.monotonic()
  if (manner === 'new') {
    socket.destroy()
    socket = open()
  }
  socket.write('x')
  await once(socket, 'data')
  // The first one finds out where things are; it is not counted.
  if (n > 0) ms.push(systemClock.monotonic() - begun)
}
socket.destroy()
say('done', { ms })
