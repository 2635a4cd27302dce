import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { UnavailableError } from '../errors.ts'

/**
 * Whether an engine could listen on `HOST:PORT`, found out by doing it for a moment: an engine opens its port with its
 * first state, which may be long after the agent's start, when nobody looks at it any more.
 * @throws {UnavailableError} naming the address, the protocol and what to do
 */
export async function checkDataPort(listen: string, protocol: 'tcp' | 'udp'): Promise<void> {
  const at = listen.lastIndexOf(':')
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '')
  const port = Number(listen.slice(at + 1))
  try {
    await (protocol === 'tcp' ? tryTcp(host, port) : tryUdp(host, port))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    const next =
      code === 'EADDRINUSE'
        ? `another program uses it: stop it (see "ss -${protocol === 'tcp' ? 'lt' : 'lu'}np"), or choose another port with --data-listen`
        : 'correct --data-listen'
    throw new UnavailableError(`cannot listen on the data address ${listen} (${protocol}, ${code}); ${next}`, {
      address: listen,
      protocol,
      code
    })
  }
}

async function tryTcp(host: string, port: number): Promise<void> {
  const server = createServer()
  server.listen({ host, port, exclusive: true })
  await once(server, 'listening')
  server.close()
  await once(server, 'close')
}

async function tryUdp(host: string, port: number): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.bind({ address: host, port, exclusive: true })
  await once(socket, 'listening')
  socket.close()
  await once(socket, 'close')
}
