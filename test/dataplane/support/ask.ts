/** A client in its namespace: `ask.ts tcp|udp ADDRESS PORT TEXT [SOURCE-PORT]` prints what came back, or the error code. */
import { createSocket } from 'node:dgram'
import { createConnection } from 'node:net'

const [protocol, address = '', port = '0', text = '', from = '0'] = process.argv.slice(2)
const finish = (answer: string): void => {
  console.log(answer.trim())
  process.exit(0)
}
setTimeout(() => finish('TIMEOUT'), 3_000)
if (protocol === 'udp') {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4' })
  socket.on('message', (message) => finish(message.toString()))
  socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? 'ERROR'))
  const send = (): void => socket.send(text, Number(port), address)
  socket.bind(Number(from), send)
  setInterval(send, 300)
} else {
  const socket = createConnection(Number(port), address, () => socket.end(text))
  let answer = ''
  socket.on('data', (chunk) => (answer += chunk.toString()))
  socket.on('end', () => finish(answer))
  socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? 'ERROR'))
}
