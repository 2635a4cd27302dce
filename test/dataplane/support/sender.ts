/**
 * Sends UDP datagrams from any address of this namespace, told by JSON lines `{"packets":[{"source","dest"}]}`; answers `sent`.
 */
import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const { packets } = JSON.parse(line) as { packets: { source: string; dest: string }[] }
  for (const { source, dest } of packets) {
    const socket = createSocket({ type: source.includes(':') ? 'udp6' : 'udp4' })
    await new Promise<void>((resolve) => socket.bind(0, source, resolve))
    await new Promise<void>((resolve, reject) => {
      socket.send('x', 9, dest, (error) => (error == null ? resolve() : reject(error)))
    })
    await new Promise<void>((resolve) => socket.close(resolve))
  }
  console.log('sent')
}
