import { once } from 'node:events'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { Failure } from './failure.ts'

/**
 * A TLS connection to the certificate with this fingerprint, whoever signed it. It is looked at before anything is sent,
 * so that a token reaches nobody else.
 */
export async function connectPinned(url: URL, fingerprint: string, signal: AbortSignal): Promise<TLSSocket> {
  const socket = await connectAnyhow(url, signal)
  const seen = socket.getPeerX509Certificate()?.fingerprint256 ?? 'none'
  if (seen === fingerprint) return socket
  socket.destroy()
  throw new Failure(
    'forbidden',
    `${url.host} has another certificate than the one pinned: somebody may be in between, or the agent got a new one; ` +
      `compare ${seen} with "arctic status" on its host, and pin it only if they are the same`,
    { details: { api: url.href, pinned: fingerprint, seen } }
  )
}

/** The fingerprint of whoever answers there, and whether this system's authorities vouch for it. */
export async function lookAt(url: URL, signal: AbortSignal): Promise<{ fingerprint: string; trusted: boolean }> {
  const socket = await connectAnyhow(url, signal)
  const fingerprint = socket.getPeerX509Certificate()?.fingerprint256 ?? ''
  const trusted = socket.authorized
  socket.destroy()
  return { fingerprint, trusted }
}

async function connectAnyhow(url: URL, signal: AbortSignal): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const socket = connect({
    host,
    port: Number(url.port || 443),
    ALPNProtocols: ['http/1.1'],
    // Whom it belongs to is decided by its fingerprint, by the caller.
    rejectUnauthorized: false,
    ...(isIP(host) === 0 ? { servername: host } : {})
  })
  try {
    await once(socket, 'secureConnect', { signal })
  } catch (error) {
    socket.destroy()
    throw error
  }
  // An error from here on belongs to the request that uses the socket.
  return socket
}
