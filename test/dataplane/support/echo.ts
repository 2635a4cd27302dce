/** A server in its namespace: TCP and UDP echo that say who asked. `echo.ts ADDRESS PORT` */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const [address = '::', port = '0'] = process.argv.slice(2)
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {})
  socket.write(`from ${socket.remoteAddress}\n`)
  socket.pipe(socket)
})
server.listen(Number(port), address, () => {
  const udp = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4' })
  udp.on('message', (message, from) => udp.send(`from ${from.address}: ${message.toString()}`, from.port, from.address))
  udp.bind(Number(port), address, () => console.log('listening'))
})
