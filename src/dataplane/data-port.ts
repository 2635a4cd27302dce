import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { UnavailableError } from '../errors.ts'

/**
 * Whether an engine could listen on `HOST:PORT`, found out by doing it for a moment: an engine opens its port with its
 * first state, which may be long after the agent's start, when nobody looks at it any more. `above`: so many ports above.
 * @throws {UnavailableError} naming the address, the protocol and what to do
 */
export async function checkDataPort(listen: string, protocol: 'tcp' | 'udp', { above = 0 } = {}): Promise<void> {
  const at = listen.lastIndexOf(':')
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '')
  const port = Number(listen.slice(at + 1)) + above
  if (port > 65535) {
    throw new UnavailableError(
      `cannot use the data address ${listen}: the port above it is needed as well (KCP), and there is none; choose a lower port with --data-listen`,
      { address: listen, protocol }
    )
  }
  const address = `${listen.slice(0, at)}:${port}`
  try {
    await (protocol === 'tcp' ? tryTcp(host, port) : tryUdp(host, port))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    const next =
      code === 'EADDRINUSE'
        ? `another program uses it: stop it (see "ss -${protocol === 'tcp' ? 'lt' : 'lu'}np"), or choose another port with --data-listen`
        : 'correct --data-listen'
    throw new UnavailableError(`cannot listen on the data address ${address} (${protocol}, ${code}); ${next}`, {
      address,
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
