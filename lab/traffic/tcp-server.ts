/**
 * One server of each manner a TCP server can have, for the cases that relays get wrong.
 *
 *   echo    sends back what it gets
 *   greet   speaks first, then as echo
 *   digest  reads to the client's end, then answers length and SHA-256, then ends: half-close by the client
 *   burst   sends 1 MiB and ends at once, then reads to the client's end: half-close by the server
 *   reset   resets the connection at the first byte it gets
 *   hold    reads and says nothing
 */
import { createHash } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { payload } from './payload.ts'
import { argumentsOf, say } from './say.ts'

const BURST = payload('burst', 1024 * 1024)

const MANNERS: Record<string, (socket: Socket) => void> = {
  echo: (socket) => {
    socket.pipe(socket)
  },
  greet: (socket) => {
    socket.write(GREETING)
    socket.pipe(socket)
  },
  digest: (socket) => {
    const hash = createHash('sha256')
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
      hash.update(chunk)
    })
    socket.on('end', () => socket.end(`${bytes} ${hash.digest('hex')}`))
  },
  burst: (socket) => {
    socket.end(BURST)
    socket.resume()
  },
  reset: (socket) => {
    socket.once('data', () => socket.resetAndDestroy())
  },
  hold: (socket) => {
    socket.resume()
  }
}
const GREETING = 'hello, who is there?\n'

const [address, ...manners] = argumentsOf('ADDRESS', 'MANNER=PORT') as [string]
for (const pair of manners as string[]) {
  const [manner = '', port] = pair.split('=')
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    const who = { manner, from: socket.remoteAddress, from_port: socket.remotePort }
    let how = 'end'
    socket.on('error', (error: NodeJS.ErrnoException) => (how = error.code ?? error.message))
    socket.on('close', () => say('closed', { ...who, how, bytes_read: socket.bytesRead }))
    say('open', who)
    MANNERS[manner]?.(socket)
  })
  server.listen({ host: address, port: Number(port), backlog: 4096 }, () => say('listening', { address, manner, port }))
}
