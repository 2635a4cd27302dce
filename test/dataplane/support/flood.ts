/**
 * Sends datagrams as fast as it can: `flood.ts SOURCE PORT DEST PORT`. Says `sending` once the first is out, and ends with its input.
 */
import { createSocket } from 'node:dgram'

const [source, sourcePort, dest, destPort] = process.argv.slice(2)
const socket = createSocket(source?.includes(':') === true ? 'udp6' : 'udp4')
socket.on('error', () => {})
await new Promise<void>((resolve) => socket.bind(Number(sourcePort), source, resolve))
await new Promise<void>((resolve) => socket.connect(Number(destPort), dest, resolve))
process.stdin.once('end', () => process.exit(0)).resume()
socket.send('x', () => console.log('sending'))
// What the ruleset does with a packet may be an error here.
for (;;) {
  for (let i = 0; i < 200; i++) socket.send('x', () => {})
  await new Promise((resolve) => setImmediate(resolve))
}
