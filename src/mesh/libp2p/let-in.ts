import { multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '../../clock.ts'
import { dialYieldLookMs, dialYieldMs } from '../limits.ts'
import { hostOf } from './doorkeeper.ts'

/**
 * Before a peer is dialled: somebody who comes from one of its addresses just now may be the peer itself, and a handshake that is under
 * way need not be crossed by another one, of whose two connections one is closed again. Waits until they have proven who they are, or
 * have gone, `dialYieldMs` at most: behind one address there may be many, and who never proves anything keeps nobody from a dial.
 */
export async function letIn(
  addresses: readonly string[],
  options: { isProving: (host: string) => boolean; isThere: () => boolean; clock: Clock; signal: AbortSignal }
): Promise<void> {
  const { isProving, isThere, clock, signal } = options
  const hosts = addresses.map(hostIn).filter((host) => host !== null)
  const until = clock.monotonic() + dialYieldMs
  while (!isThere() && clock.monotonic() < until && hosts.some(isProving)) {
    await clock.sleep(dialYieldLookMs, { signal })
  }
}

/** Null for what is no address; the dial says so. */
function hostIn(address: string): string | null {
  try {
    return hostOf(multiaddr(address))
  } catch {
    return null
  }
}
