import { setup } from 'xstate'
import type { Clock } from '../../clock.ts'
import type { ServiceId } from '../../crdt/schema.ts'
import type { Logger } from '../../log.ts'
import { routeMachine } from '../route/route.machine.ts'
import { fromPool } from '../runtime/pool.logic.ts'
import type { TakesMeta } from '../runtime/takes.ts'

export interface ServiceInput {
  id: ServiceId
  /** This host's part in it. */
  role: 'source' | 'target'
  log: Logger
}

export type ServiceEvent =
  /** Its wish has changed: what is in force is not what is asked for any more. */
  | { type: 'service.specified' }
  /** An endpoint is still at it. */
  | { type: 'service.awaited'; reason: string; message: string }
  /** Both endpoints have this very wish in force. */
  | { type: 'service.programmed' }
  | { type: 'service.impaired'; reason: string; message: string }
  /** It is gone from the replicated state. */
  | { type: 'service.withdrawn' }
  /** It is gone from this host's kernel and engines too. */
  | { type: 'service.removed' }

/**
 * One service on one of its endpoints. Its routes are its children. What the facts are, `reconcile/phase.ts` decides.
 *
 * ```
 *  pending ──programmed──▶ active
 *   ▲  ▲ │                  │  ▲
 *   │  │ └────impaired──┐   │  │
 *   │  └───awaited──────┼───┤  │ programmed
 *   │                   ▼   │  │
 *   └──awaited────── degraded ◀┘ impaired
 *
 *  any ──withdrawn──▶ deleting ──removed──▶ removed (final)
 * ```
 */
export const serviceMachine = (clock: Clock) =>
  setup({
    types: {
      context: {} as ServiceInput,
      input: {} as ServiceInput,
      events: {} as ServiceEvent,
      meta: {} as TakesMeta
    },
    actors: { routes: fromPool('route', routeMachine, { clock }) },
    actions: {
      sayActive: ({ context: { log, id, role } }) => log.info({ service: id, role }, 'service active on both peers'),
      sayDeleting: ({ context: { log, id, role } }) =>
        log.info({ service: id, role }, 'service deleted, removing it here'),
      sayImpaired: ({ context: { log, id, role } }, { reason, message }: { reason: string; message: string }) =>
        log.warn({ service: id, role, reason }, `service degraded: ${message}`)
    }
  }).createMachine({
    id: 'service',
    meta: {
      takes: {
        'service.specified': {},
        'service.awaited': { reason: 'string', message: 'string' },
        'service.programmed': {},
        'service.impaired': { reason: 'string', message: 'string' }
      }
    },
    context: ({ input }) => input,
    invoke: { src: 'routes', id: 'routes' },
    initial: 'pending',
    on: { 'service.withdrawn': '.deleting' },
    states: {
      pending: {
        on: {
          'service.programmed': 'active',
          'service.impaired': 'degraded'
        }
      },
      active: {
        entry: 'sayActive',
        on: { 'service.specified': 'pending', 'service.awaited': 'pending', 'service.impaired': 'degraded' }
      },
      degraded: {
        entry: {
          type: 'sayImpaired',
          params: ({ event }) =>
            event.type === 'service.impaired'
              ? event
              : { reason: 'Unknown', message: 'for a reason that was not given' }
        },
        on: {
          'service.specified': 'pending',
          'service.awaited': 'pending',
          'service.programmed': 'active',
          // A new reason is news of its own.
          'service.impaired': { target: 'degraded', reenter: true }
        }
      },
      deleting: {
        entry: 'sayDeleting',
        on: { 'service.withdrawn': {}, 'service.removed': 'removed' }
      },
      removed: { type: 'final' }
    }
  })
