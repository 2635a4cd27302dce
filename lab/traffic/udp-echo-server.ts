/** Sends every datagram back to where it came from and says who that was. */
import { createSocket } from 'node:dgram'
import { argumentsOf, say } from './say.ts'

const [port, ...addresses] = argumentsOf('PORT', 'ADDRESS') as [string]

for (const address of addresses as string[]) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (data, from) => {
    say('datagram', {
      from: from.address,
      from_port: from.port,
      bytes: data.length,
      text: data.toString('latin1', 0, 64)
    })
    socket.send(data, from.port, from.address)
  })
  socket.bind(Number(port), address, () => say('listening', { address, port: Number(port) }))
}
