import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { UnavailableError } from '../../errors.ts'
import { deadline } from '../deadline.ts'
import { dialAddressesMax, dialAddressTimeoutMs, dialStaggerMs } from '../limits.ts'

interface Attempt {
  address: string
  reason: string
}

/**
 * Tries the addresses of a peer in turn, each with a head start of `dialStaggerMs` over the next, until one answers; the
 * others are given up then. An address that swallows packets so costs a fraction of a second, not its whole timeout.
 *
 * `connect` must reject unless the other end proved to be the peer. Source: RFC 8305, happy eyeballs.
 */
export async function dialFirst<T>(
  peer: PeerId,
  addresses: readonly string[],
  options: {
    clock: Clock
    connect: (address: Multiaddr, signal: AbortSignal) => Promise<T>
    signal: AbortSignal
  }
): Promise<T> {
  const { clock, connect, signal } = options
  const targets = [...new Set(addresses)].slice(0, dialAddressesMax)
  const failed: Attempt[] = []
  const done = new AbortController()
  const attempt = async (address: string, delayMs: number): Promise<T> => {
    try {
      const target = multiaddr(address)
      if (delayMs > 0) await clock.sleep(delayMs, { signal: done.signal })
      using limit = deadline(clock, dialAddressTimeoutMs, { signal: done.signal })
      return await connect(target, limit.signal).catch((error: unknown) => {
        throw limit.signal.aborted ? limit.signal.reason : error
      })
    } catch (error) {
      failed.push({ address, reason: reasonOf(error) })
      throw error
    }
  }
  const abort = (): void => done.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.any(targets.map((address, i) => attempt(address, i * dialStaggerMs)))
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw unreachable(peer, failed, error)
  } finally {
    signal.removeEventListener('abort', abort)
    done.abort(new Error('another address answered first'))
  }
}

function unreachable(peer: PeerId, tried: Attempt[], cause: unknown): UnavailableError {
  const list = tried.map(({ address, reason }) => `${address} (${reason})`).join(', ')
  return new UnavailableError(
    tried.length === 0
      ? `peer ${peer} has no address to dial; start it with --advertise HOST so that it announces one`
      : `peer ${peer} cannot be reached, tried ${list}; check that its agent runs, that no firewall is in the way, ` +
          'and that it announces an address you can reach (--advertise HOST there)',
    { peer, tried },
    { cause }
  )
}

function reasonOf(error: unknown): string {
  const { message, name, code } = error as NodeJS.ErrnoException
  const known: Record<string, string> = {
    ECONNREFUSED: 'connection refused',
    EHOSTUNREACH: 'no route to host',
    ENETUNREACH: 'no route to network',
    ETIMEDOUT: 'timed out',
    ECONNRESET: 'connection reset'
  }
  const found = code ?? /\bE[A-Z]{5,}\b/.exec(message)?.[0]
  if (found != null && known[found] != null) return known[found]
  if (name === 'TimedOutError' || name === 'TimeoutError') return 'timed out'
  if (name === 'EncryptionFailedError' || /closed|reset|EOF/i.test(message)) return 'closed by the other side'
  return message.split('\n')[0] || name
}
