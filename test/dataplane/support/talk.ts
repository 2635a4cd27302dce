/** One long TCP connection: `talk.ts ADDRESS PORT` sends each line of stdin and prints what comes back, or how it ended. */
import { createConnection } from 'node:net'

const [address = '', port = '0'] = process.argv.slice(2)
const socket = createConnection(Number(port), address)
socket.pipe(process.stdout)
process.stdin.pipe(socket)
socket.on('error', (error: NodeJS.ErrnoException) => {
  console.log(`ended ${error.code}`)
  process.exit(0)
})
socket.on('close', () => {
  console.log('ended closed')
  process.exit(0)
})
