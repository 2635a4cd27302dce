import { setup } from 'xstate'
import type { PeerId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import type { TakesMeta } from '../runtime/takes.ts'

export interface TunnelInput {
  /** The remote end. */
  peer: PeerId
  log: Logger
}

export type TunnelEvent =
  /** It is programmed and has sent something, but no handshake has come back. */
  | { type: 'tunnel.dialled' }
  | { type: 'tunnel.handshaken' }
  /** The last handshake is older than a session may live. */
  | { type: 'tunnel.expired' }

/**
 * The IP tunnel to one remote peer, as Tempest's counters show it.
 *
 * ```
 *  idle ──dialled──▶ connecting ──handshaken──▶ up ──expired──▶ down ──handshaken──▶ up
 *   └──────────────handshaken───────────────────▲
 * ```
 */
export const tunnelMachine = setup({
  types: { context: {} as TunnelInput, input: {} as TunnelInput, events: {} as TunnelEvent, meta: {} as TakesMeta },
  actions: {
    sayUp: ({ context: { log, peer } }) => log.info({ peer }, 'tunnel up'),
    sayDown: ({ context: { log, peer } }) => log.warn({ peer }, 'tunnel down: its handshake has expired')
  }
}).createMachine({
  id: 'tunnel',
  meta: { takes: { 'tunnel.dialled': {}, 'tunnel.handshaken': {}, 'tunnel.expired': {} } },
  context: ({ input }) => input,
  initial: 'idle',
  states: {
    idle: { on: { 'tunnel.dialled': 'connecting', 'tunnel.handshaken': 'up' } },
    connecting: { on: { 'tunnel.handshaken': 'up' } },
    up: { entry: 'sayUp', on: { 'tunnel.expired': 'down' } },
    down: { entry: 'sayDown', on: { 'tunnel.handshaken': 'up' } }
  }
})
