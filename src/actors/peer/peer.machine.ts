import { setup } from 'xstate'
import type { PeerId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import type { TakesMeta } from '../runtime/takes.ts'

export interface PeerInput {
  id: PeerId
  /** This peer itself says nothing about its own coming and going. */
  self: boolean
  log: Logger
}

export type PeerEvent =
  | { type: 'peer.admitted'; name: string }
  | { type: 'peer.revoked' }
  | { type: 'peer.reached' }
  | { type: 'peer.lost' }

/**
 * One peer as this host knows it: what it may do, beside whether it answers. The two change independently.
 *
 * ```
 *  membership   discovered ──admitted──▶ admitted ──revoked──▶ revoked
 *  reach        unreachable ◀──lost / reached──▶ reachable
 * ```
 */
export const peerMachine = setup({
  types: { context: {} as PeerInput, input: {} as PeerInput, events: {} as PeerEvent, meta: {} as TakesMeta },
  actions: {
    sayAdmitted: ({ context: { log, id } }, { name }: { name: string }) =>
      log.info({ peer: id, name }, 'peer is a member'),
    sayRevoked: ({ context: { log, id } }) => log.info({ peer: id }, 'peer is no member any more'),
    sayReached: ({ context: { log, id, self } }) => self || log.info({ peer: id }, 'peer reachable'),
    sayLost: ({ context: { log, id } }) => log.warn({ peer: id }, 'peer unreachable')
  }
}).createMachine({
  id: 'peer',
  meta: { takes: { 'peer.reached': {}, 'peer.lost': {} } },
  context: ({ input }) => input,
  type: 'parallel',
  states: {
    membership: {
      initial: 'discovered',
      states: {
        discovered: {
          on: {
            'peer.admitted': {
              target: 'admitted',
              actions: { type: 'sayAdmitted', params: ({ event }) => ({ name: event.name }) }
            },
            'peer.revoked': 'revoked'
          }
        },
        admitted: { on: { 'peer.revoked': { target: 'revoked', actions: 'sayRevoked' } } },
        revoked: { on: { 'peer.admitted': 'admitted' } }
      }
    },
    reach: {
      initial: 'unreachable',
      states: {
        unreachable: { on: { 'peer.reached': { target: 'reachable', actions: 'sayReached' } } },
        reachable: { on: { 'peer.lost': { target: 'unreachable', actions: 'sayLost' } } }
      }
    }
  }
})
