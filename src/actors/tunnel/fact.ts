import type { TunnelCounters } from '../../dataplane/desired.ts'
import { tunnelExpiresMs } from '../limits.ts'
import type { TunnelEvent } from './tunnel.machine.ts'

/** What a tunnel's counters mean at `now` (wall-clock ms); null: nothing has happened on it yet. */
export function tunnelFact(counters: TunnelCounters, now: number): TunnelEvent | null {
  if (counters.handshakeAt != null) {
    return { type: now - counters.handshakeAt < tunnelExpiresMs ? 'tunnel.handshaken' : 'tunnel.expired' }
  }
  return counters.bytesOut > 0 ? { type: 'tunnel.dialled' } : null
}
